//! `refused PROGRAM [ARGUMENT...]` runs a program where io_uring is forbidden (`EPERM`), as in most containers.

use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};

use annulet_tests::refuse_rings;

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    let Some(program) = arguments.next() else {
        eprintln!("refused: which program? usage: refused PROGRAM [ARGUMENT...]");
        return ExitCode::from(2);
    };
    refuse_rings(libc::EPERM);
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("refused: cannot run {}: {error}", program.display());
    ExitCode::from(127)
}
