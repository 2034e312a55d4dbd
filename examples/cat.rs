//! `cat`: files, and `-` for standard input, one after another to standard output.
//!
//! ```sh
//! cargo run --release --example cat -- README.md
//! echo "in the middle" | cargo run --release --example cat -- CHANGELOG.md - README.md | wc -l
//! ```
//!
//! The loop is `runtime::io::copy`: where input or output is a pipe the kernel moves the bytes, elsewhere they are read
//! and written.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind};
use std::os::fd::AsFd;
use std::process::ExitCode;

use lexopt::Arg;
use runtime::fs::File;
use runtime::io::{AsyncRead, Stdout, copy, stderr, stdin, stdout};
use rustix::fs::{FileType, fstat};
use rustix::io::Errno;

const HELP: &str = "\
Usage: cat [FILE]...

Writes each FILE to standard output; standard input for `-`, or without any FILE.
";

/// How the shell reports a program that SIGPIPE has ended.
const BROKEN_PIPE: u8 = 128 + 13;

#[runtime::main]
async fn main() -> ExitCode {
    let names = match names() {
        Ok(Some(names)) => names,
        Ok(None) => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            eprintln!("cat: {error}\nTry --help.");
            return ExitCode::FAILURE;
        }
    };
    let out = match stdout() {
        Ok(out) => out,
        Err(error) => return complain(OsStr::new("standard output"), &error).await,
    };
    let mut code = ExitCode::SUCCESS;
    for name in &names {
        match cat(name, &out).await {
            Ok(()) => {}
            // Nobody reads on: no reason to say so, nor to go on.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                return ExitCode::from(BROKEN_PIPE);
            }
            Err(error) => code = complain(name, &error).await,
        }
    }
    code
}

/// The files to write; `None`: help was asked for.
fn names() -> Result<Option<Vec<OsString>>, lexopt::Error> {
    let mut names = Vec::new();
    let mut args = lexopt::Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Value(name) => names.push(name),
            Arg::Long("help") | Arg::Short('h') => return Ok(None),
            // Nothing is ever held back.
            Arg::Short('u') => {}
            other => return Err(other.unexpected()),
        }
    }
    if names.is_empty() {
        names.push("-".into());
    }
    Ok(Some(names))
}

async fn cat(name: &OsStr, out: &Stdout) -> io::Result<()> {
    if name == "-" {
        let stdin = stdin()?;
        refuse_itself(&stdin, out)?;
        return pass(stdin, out).await;
    }
    let file = File::open(name).await?;
    refuse_itself(&file, out)?;
    pass(&file, out).await
}

async fn pass(from: impl AsyncRead, out: &Stdout) -> io::Result<()> {
    copy(from, out.clone()).await?;
    Ok(())
}

/// A file that is appended to what it consists of would never end.
fn refuse_itself(input: &impl AsFd, out: &Stdout) -> io::Result<()> {
    let (input, out) = (fstat(input)?, fstat(out)?);
    let same = (input.st_dev, input.st_ino) == (out.st_dev, out.st_ino);
    let is_file = FileType::from_raw_mode(input.st_mode) == FileType::RegularFile;
    if same && is_file && input.st_size > 0 {
        return Err(io::Error::other("input file is output file"));
    }
    Ok(())
}

async fn complain(name: &OsStr, error: &io::Error) -> ExitCode {
    let name = name.display();
    // As the C library has it, without the number.
    let why = match Errno::from_io_error(error) {
        Some(_) => {
            let text = error.to_string();
            let end = text.rfind(" (os error").unwrap_or(text.len());
            text[..end].to_owned()
        }
        None => error.to_string(),
    };
    if let Ok(err) = stderr() {
        // There is nowhere left to say that this has failed.
        let _ = err.write_all(format!("cat: {name}: {why}\n")).await.0;
    }
    ExitCode::FAILURE
}
