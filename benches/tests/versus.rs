//! Every contender answers every byte, and the figures come out.

use std::process::Command;

const CONTENDERS: &[&str] = &[
    "annulet",
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
    "glommio",
    #[cfg(feature = "peers")]
    "tokio-uring",
    "ring",
    "epoll",
];

#[test]
fn all_contenders_answer_and_are_measured() {
    let json = std::env::temp_dir().join(format!("versus-{}.json", std::process::id()));
    let run = Command::new(env!("CARGO_BIN_EXE_versus"))
        .args([
            "--connections",
            "3",
            "--size",
            "10000",
            "--rounds",
            "1",
            "--seconds",
            "0.02",
        ])
        .arg("--json")
        .arg(&json)
        .output()
        .unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&run.stdout),
        String::from_utf8_lossy(&run.stderr),
    );
    assert!(run.status.success(), "{out}{err}");
    for contender in CONTENDERS {
        assert!(
            out.lines()
                .any(|line| line.split_whitespace().next() == Some(contender)),
            "{out}"
        );
    }
    let figures = std::fs::read_to_string(&json).unwrap();
    std::fs::remove_file(&json).unwrap();
    assert!(figures.contains("\"cpu_to_baseline\""), "{figures}");
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
