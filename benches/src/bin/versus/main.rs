//! Annulet against what one would use instead: whose server spends the least on a request?
//!
//! `cargo run --release -p annulet-benches --features peers --bin versus -- --help`; without the feature, which takes a
//! minute to compile, it is Annulet, tokio and the loops by hand alone.
//!
//! | module | what lives there |
//! | --- | --- |
//! | [`contenders`] | the servers, a file each; a new one is one file and one line |
//! | [`workloads`] | the load put on them, a file each; a new one, too, is one file and one line |
//! | [`works`] | what contenders do by themselves, with files: a file a contender |
//! | [`rounds`] | who runs when: contenders take turns |
//! | [`roles`] | the processes: server and load are of their own |
//! | [`meter`] | what is measured, lap by lap |
//! | [`calls`] | how many system calls a server makes |
//! | [`cpu`] | what a server has used of its core |
//! | [`pages`] | where large buffers lie: at the start of a page, everyone's |
//! | [`report`] | the table and the JSON |
//! | [`suite`] | everything at once: the rows of the published tables, and the charts |
//! | [`options`] | the command line |
//!
//! What keeps it fair: every contender gets the same listener settings, buffer sizes and socket options, memory that lies
//! alike, and its own makers' recommended set-up; one load generator, which knows no contender, checks every byte;
//! within a round all are there, and take turns every tenth of a second, so that whatever else the machine does hits
//! all of them; and ratios are taken between laps of the same turn.

mod calls;
mod contenders;
mod cpu;
mod meter;
mod options;
mod pages;
mod report;
mod roles;
mod rounds;
mod suite;
mod workloads;
mod works;

use std::error::Error;
use std::process::ExitCode;

use self::options::Command;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("versus: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let options = match options::parse()? {
        Command::Help => {
            print!("{}", options::help());
            return Ok(ExitCode::SUCCESS);
        }
        Command::Act(role) => {
            return Ok(role.play());
        }
        Command::Suite(options) => {
            suite::run(&options)?;
            return Ok(ExitCode::SUCCESS);
        }
        Command::Compare(options) => options,
    };
    let outcome = rounds::run(&options)?;
    report::print(&options, &outcome);
    if let Some(path) = &options.json {
        report::write_json(path, &options, &outcome)?;
    }
    Ok(if outcome.failures.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
