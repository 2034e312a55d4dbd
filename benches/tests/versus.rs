//! Every contender answers every byte, and the figures come out: as tables, as JSON, as charts.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

const CONTENDERS: &[&str] = &[
    "annulet",
    "annulet-read",
    "annulet-chunks",
    "annulet-poll",
    "tokio",
    #[cfg(feature = "peers")]
    "monoio",
    #[cfg(feature = "peers")]
    "monoio-tuned",
    #[cfg(feature = "peers")]
    "compio",
    #[cfg(feature = "peers")]
    "compio-tuned",
    #[cfg(feature = "peers")]
    "compio-multi",
    #[cfg(feature = "peers")]
    "glommio",
    #[cfg(feature = "peers")]
    "tokio-uring",
    "ring",
    "ring-pool",
    "epoll",
];

/// What it prints and the figures it writes, of one short round.
fn compare(workload: &str, options: &[&str]) -> (String, String) {
    let json = std::env::temp_dir().join(format!("versus-{workload}-{}.json", std::process::id()));
    let run = Command::new(env!("CARGO_BIN_EXE_versus"))
        .args(["--workload", workload, "--rounds", "1", "--seconds", "0.02"])
        .args(options)
        .arg("--json")
        .arg(&json)
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(run.status.success(), "{out}{err}");
    let figures = fs::read_to_string(&json).unwrap();
    fs::remove_file(&json).unwrap();
    (out.into_owned(), figures)
}

/// Those who do such work.
fn able(workload: &str) -> impl Iterator<Item = &'static str> {
    CONTENDERS
        .iter()
        .copied()
        .filter(move |contender| match *contender {
            "tokio-uring" => workload != "http",
            "annulet-read" => matches!(workload, "echo" | "ping" | "idle"),
            "compio-multi" => matches!(workload, "echo" | "ping" | "idle" | "upload"),
            "annulet-chunks" => workload == "upload",
            _ => true,
        })
}

#[track_caller]
fn all_answer(workload: &str, options: &[&str]) {
    let (out, figures) = compare(workload, options);
    for contender in able(workload) {
        let mut lines = out.lines();
        let is_there = lines.any(|line| line.split_whitespace().next() == Some(contender));
        assert!(is_there, "{contender} is not in {out}");
    }
    assert!(figures.contains("\"cost_to_baseline\""), "{figures}");
    assert!(figures.contains("\"system_calls\""), "{figures}");
}

#[test]
fn all_contenders_echo_one_message_after_another() {
    all_answer("echo", &["--connections", "3", "--size", "10000"]);
}

#[test]
fn all_contenders_echo_several_messages_at_a_time() {
    let pipeline = ["--size", "70", "--pipeline", "5"];
    all_answer("echo", &[&["--connections", "3"][..], &pipeline].concat());
}

#[test]
fn all_contenders_answer_on_the_core_of_the_one_who_asks() {
    all_answer("ping", &[]);
}

#[test]
fn all_contenders_take_a_stream_to_its_last_byte() {
    all_answer("upload", &["--connections", "2"]);
}

#[test]
fn all_contenders_send_a_stream_to_its_last_byte() {
    all_answer("download", &["--connections", "2"]);
}

#[test]
fn all_contenders_accept_answer_and_close() {
    all_answer("churn", &["--connections", "5"]);
}

#[test]
fn all_contenders_that_have_http_answer_requests() {
    all_answer("http", &["--connections", "3"]);
}

#[test]
fn an_unknown_contender_is_named() {
    let run = Command::new(env!("CARGO_BIN_EXE_versus"))
        .args(["--only", "nobody"])
        .output()
        .unwrap();
    assert!(!run.status.success());
    assert!(String::from_utf8_lossy(&run.stderr).contains("`nobody`"));
}

#[test]
fn idle_connections_are_weighed() {
    let (told, figures) = compare("idle", &["--connections", "300"]);
    for contender in able("idle") {
        let line = told
            .lines()
            .find(|line| line.starts_with(&format!("{contender}: ")));
        assert!(
            line.is_some_and(|line| line.ends_with(" bytes a connection")),
            "{told}"
        );
    }
    assert!(figures.contains("bytes_per_connection"), "{figures}");
}

#[test]
fn those_who_work_alone_read_and_copy_what_is_in_the_file() {
    for (workload, size) in [("read", "4096"), ("copy", "65536")] {
        let run = Command::new(env!("CARGO_BIN_EXE_versus"))
            .args(["--workload", workload, "--size", size, "--depth", "3"])
            .args([
                "--file-size",
                "1000000",
                "--rounds",
                "1",
                "--seconds",
                "0.02",
            ])
            .output()
            .unwrap();
        let (out, err) = (
            String::from_utf8_lossy(&run.stdout),
            String::from_utf8_lossy(&run.stderr),
        );
        assert!(run.status.success(), "{out}{err}");
        for contender in ["annulet", "tokio", "ring", "pread"] {
            assert!(out.lines().any(|line| line.starts_with(contender)), "{out}");
        }
    }
}

/// A suite of two contenders in two rows.
fn suite(out: &Path, more: &[&str]) -> String {
    let run = Command::new(env!("CARGO_BIN_EXE_versus"))
        .args(["--suite", "full", "--rows", "echo-64x64,read-32"])
        .args(["--only", "annulet,tokio", "--seconds", "0.02"])
        .args(["--file-size", "1000000", "--out"])
        .arg(out)
        .args(more)
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(run.status.success(), "{out}{err}");
    out.into_owned()
}

/// The rounds of all, in the order of rows and contenders.
fn rounds(out: &Path) -> Vec<Vec<Value>> {
    let text = fs::read_to_string(out.join("results.json")).unwrap();
    let results: Value = serde_json::from_str(&text).unwrap();
    let contenders = results["rows"].as_array().unwrap().iter();
    contenders
        .flat_map(|row| row["contenders"].as_array().unwrap())
        .map(|contender| contender["turns"].as_array().unwrap().clone())
        .collect()
}

#[test]
fn a_suite_is_kept_drawn_and_gone_on_with() {
    let out = tempfile::tempdir().unwrap();
    let told = suite(out.path(), &["--rounds", "1"]);
    assert!(told.contains("echo, 64 × 64 B"), "{told}");
    let first = rounds(out.path());
    assert_eq!(first.len(), 4);
    for turns in &first {
        assert_eq!(turns.len(), 1);
        assert!(turns[0]["requests"].as_u64().unwrap() > 0, "{turns:?}");
    }

    suite(out.path(), &["--rounds", "2", "--resume"]);
    let second = rounds(out.path());
    for (first, second) in first.iter().zip(&second) {
        assert_eq!(second.len(), 2);
        assert_eq!(first[0], second[0]);
    }

    suite(out.path(), &["--draw"]);
    assert_eq!(rounds(out.path()), second);
    let page = fs::read_to_string(out.path().join("README.md")).unwrap();
    for part in [
        "## At a glance",
        "## Servers",
        "### Cached 4 KiB reads, 32 at a time",
        "`tokio`",
        "Linux",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    for name in ["overview", "servers", "files"] {
        let chart = fs::read_to_string(out.path().join(name).with_extension("svg")).unwrap();
        assert!(page.contains(&format!("({name}.svg)")), "{page}");
        assert_is_a_picture(&chart);
        assert!(
            chart.contains("annulet") && chart.contains("tokio"),
            "{chart}"
        );
    }
    // What was not measured is not drawn.
    assert!(!out.path().join("parts.svg").exists() && !page.contains("parts.svg"));
}

#[test]
fn parts_are_asked_for_lap_by_lap_of_those_who_have_them() {
    let out = tempfile::tempdir().unwrap();
    let run = Command::new(env!("CARGO_BIN_EXE_versus"))
        .args(["--suite", "full", "--rows", "yield-1,nop-1"])
        .args(["--only", "annulet,tokio,ring", "--rounds", "1", "--out"])
        .arg(out.path())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&run.stderr);
    assert!(run.status.success(), "{told}");
    let laps: Vec<usize> = rounds(out.path())
        .iter()
        .map(|turns| turns[0].as_array().unwrap().len())
        .collect();
    // Of a no-op, and of a yield alone and among a thousand: Annulet's, tokio's, and by hand.
    assert_eq!(laps, [5, 0, 5, 5, 5, 0, 5, 5, 0]);
}

/// Every element is closed, in order, and nothing follows the last.
fn assert_is_a_picture(svg: &str) {
    let mut open = Vec::new();
    assert!(
        svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""),
        "{svg}"
    );
    for tag in svg.split('<').skip(1) {
        let (tag, _text) = tag.split_once('>').unwrap();
        let name = tag.split_whitespace().next().unwrap();
        match name.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name), "{svg}"),
            None if !tag.ends_with('/') => open.push(name),
            None => {}
        }
    }
    assert!(open.is_empty(), "{open:?}");
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
}

#[test]
fn who_fails_is_noted_and_holds_up_nobody() {
    let out = tempfile::tempdir().unwrap();
    suite(
        out.path(),
        &["--rounds", "3", "--files", "/no/such/directory"],
    );
    let rounds = rounds(out.path());
    for turns in &rounds[..2] {
        assert!(
            turns.iter().all(|turn| turn["requests"].is_u64()),
            "{turns:?}"
        );
    }
    for turns in &rounds[2..] {
        assert!(
            turns.iter().all(|turn| turn["failed"].is_string()),
            "{turns:?}"
        );
    }
    let page = fs::read_to_string(out.path().join("README.md")).unwrap();
    assert!(page.contains("`tokio` failed in 3 of the rounds"), "{page}");
}
