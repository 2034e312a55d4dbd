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
    let figures = std::fs::read_to_string(&json).unwrap();
    std::fs::remove_file(&json).unwrap();
    (out.into_owned(), figures)
}

#[track_caller]
fn all_answer(workload: &str, options: &[&str]) {
    let (out, figures) = compare(workload, options);
    for contender in CONTENDERS {
        if (*contender, workload) == ("tokio-uring", "http") {
            continue;
        }
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
