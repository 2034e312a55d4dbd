//! Every part can be asked, and what nobody can answer is left out.

use std::process::Command;

#[test]
fn parts_are_asked_of_all_who_have_them() {
    let json = std::env::temp_dir().join(format!("parts-{}.json", std::process::id()));
    let run = Command::new(env!("CARGO_BIN_EXE_parts"))
        .args(["--rounds", "1", "--rows", "nop-1,yield-1,wake,pipe"])
        .args(["--only", "annulet,tokio,ring,eventfd,epoll-wait", "--json"])
        .arg(&json)
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(run.status.success(), "{out}{err}");
    let figures: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&json).unwrap()).unwrap();
    std::fs::remove_file(&json).unwrap();
    let answered = |row: &serde_json::Value, contender: &str| {
        let laps = row["rounds"][contender][0].as_array().unwrap();
        assert!(laps.is_empty() || laps.len() == 5, "{row}");
        !laps.is_empty()
            && laps
                .iter()
                .all(|lap| lap.as_f64().is_some_and(|ns| ns > 0.0))
    };
    for row in figures["rows"].as_array().unwrap() {
        let name = row["row"].as_str().unwrap();
        assert!(answered(row, "annulet"), "{row}");
        assert_eq!(answered(row, "tokio"), !name.starts_with("nop"), "{row}");
        assert_eq!(
            answered(row, "ring"),
            ["nop-1", "wake-threads", "pipe"].contains(&name),
            "{row}"
        );
        assert_eq!(answered(row, "eventfd"), name == "wake-threads", "{row}");
        assert_eq!(answered(row, "epoll-wait"), name == "pipe", "{row}");
    }
}

#[test]
fn an_unknown_row_is_named() {
    let run = Command::new(env!("CARGO_BIN_EXE_parts"))
        .args(["--rows", "nothing"])
        .output()
        .unwrap();
    assert!(!run.status.success());
    assert!(String::from_utf8_lossy(&run.stderr).contains("`nothing`"));
}
