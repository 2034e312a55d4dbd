//! Runs a pipeline of programs, within a time, and shows live who says what.
//!
//! ```sh
//! cargo run --release --example run -- 'seq 3' 'tac'                     # tac> 3, tac> 2, tac> 1
//! cargo run --release --example run -- --timeout 2s 'ping localhost' 'grep -v ^PING'
//! ```
//!
//! Each argument is a part, run by a shell of its own in a process group of its own; the kernel's pipes are between
//! them. Lines of the last one's output are marked `name>`, those of anybody's errors `name!`. When the time is up they
//! are asked to end (`SIGTERM`), and some time later killed. Ctrl-C, `SIGTERM` and `SIGHUP` are passed on to them.
//!
//! It exits as timeout(1) does: with the last part's code, 128 and the signal that ended it, 124 if the time was up,
//! 137 if that took a kill.

use std::future::pending;
use std::io::{self, IsTerminal, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use futures_lite::future::or;
use lexopt::prelude::*;
use runtime::JoinHandle;
use runtime::fs::PipeReader;
use runtime::process::{Child, Command, ExitStatus, Stdio};
use runtime::signal::unix::{Signal, SignalKind, signal};
use runtime::time::{sleep_until, timeout};

/// How long the parts have from `SIGTERM` to `SIGKILL`.
const GRACE: Duration = Duration::from_secs(2);
/// How long to go on reading from those who are left when all parts have ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// A line is shown in pieces of this size.
const LONGEST_LINE: usize = 64 * 1024;

const HELP: &str = "\
run [options] PART...   a pipeline; each PART is a shell's command, `run 'seq 3' 'tac'` is `seq 3 | tac`
  --timeout TIME        ask it to end then; TIME is 500ms, 2s, 1m or 1h. Default: no limit
  --kill-after TIME     kill it that long after it was asked. Default: 2s
";

const TIMED_OUT: u8 = 124;
const KILLED: u8 = 137;

struct Options {
    parts: Vec<String>,
    timeout: Option<Duration>,
    kill_after: Duration,
}

fn main() -> ExitCode {
    let result = match Options::parse() {
        Ok(Some(options)) => runtime::block_on(run(options))
            .unwrap_or_else(|error| Err(format!("cannot make a ring: {error}"))),
        Ok(None) => Ok(0),
        Err(error) => Err(format!("{error}\n\n{HELP}")),
    };
    match result {
        Ok(code) => code.into(),
        Err(error) => {
            eprintln!("run: {error}");
            ExitCode::from(125)
        }
    }
}

async fn run(options: Options) -> Result<u8, String> {
    // Before anybody is started: a Ctrl-C from now on is for them.
    let mut signals = Signals::listen().map_err(|error| format!("signals: {error}"))?;
    let mut deadline = options.timeout.map(|limit| Instant::now() + limit);
    let mut pipeline = Pipeline::start(&options.parts)?;
    let mut code = None;
    let statuses = loop {
        // Whatever comes first, the others lose nothing by being dropped.
        let ended = async { Event::Ended(pipeline.wait().await) };
        let signalled = async { Event::Signal(signals.next().await) };
        match or(ended, or(signalled, time_up(deadline))).await {
            Event::Ended(statuses) => break statuses.map_err(|error| error.to_string())?,
            Event::Signal(kind) => pipeline.signal(kind),
            Event::TimeUp if code.is_none() => {
                eprintln!("run: the time is up");
                pipeline.signal(SignalKind::terminate());
                deadline = Some(Instant::now() + options.kill_after);
                code = Some(TIMED_OUT);
            }
            Event::TimeUp => {
                pipeline.kill();
                deadline = None;
                code = Some(KILLED);
            }
        }
    };
    pipeline.last_words().await;
    for (part, status) in options.parts.iter().zip(&statuses) {
        if !status.success() {
            eprintln!("run: `{part}`: {status}");
        }
    }
    Ok(code.unwrap_or_else(|| statuses.last().map_or(0, code_of)))
}

enum Event {
    Ended(io::Result<Vec<ExitStatus>>),
    Signal(SignalKind),
    TimeUp,
}

async fn time_up(deadline: Option<Instant>) -> Event {
    match deadline {
        Some(instant) => sleep_until(instant).await,
        None => pending().await,
    }
    Event::TimeUp
}

/// As a shell has it.
fn code_of(status: &ExitStatus) -> u8 {
    let code = status.code().or(status.signal().map(|number| 128 + number));
    code.and_then(|code| u8::try_from(code).ok())
        .unwrap_or(u8::MAX)
}

struct Pipeline {
    children: Vec<Child>,
    printers: Vec<JoinHandle<()>>,
}

impl Pipeline {
    fn start(parts: &[String]) -> Result<Pipeline, String> {
        let mut pipeline = Pipeline {
            children: Vec::new(),
            printers: Vec::new(),
        };
        // Not in the terminal's foreground, they would be stopped if they read from it.
        let mut stdin = if io::stdin().is_terminal() {
            Stdio::null()
        } else {
            Stdio::inherit()
        };
        for (index, part) in parts.iter().enumerate() {
            let last = index + 1 == parts.len();
            stdin = pipeline
                .start_part(part, stdin, last)
                .map_err(|error| format!("`{part}`: {error}"))?;
        }
        Ok(pipeline)
    }

    /// Starts a part, and returns the input of the next one.
    fn start_part(&mut self, part: &str, stdin: Stdio, last: bool) -> io::Result<Stdio> {
        let mut command = Command::new("sh");
        command
            .args(["-c", part])
            .stdin(stdin)
            .stderr(Stdio::piped());
        // A shell and all that it has started are one, for signals and if this program fails.
        command.kill_group(true).kill_on_drop(true);
        let next = if last {
            command.stdout(Stdio::piped());
            Stdio::null()
        } else {
            let (reader, writer) = io::pipe()?;
            command.stdout(writer);
            reader.into()
        };
        let mut child = command.spawn()?;
        let name = part.split(|c: char| c.is_whitespace() || c == ';').next();
        let name = name.unwrap_or("sh");
        let streams = [(child.stdout.take(), '>'), (child.stderr.take(), '!')];
        for (stream, mark) in streams {
            if let Some(stream) = stream {
                let printer = print_lines(stream, format!("{name}{mark} "));
                self.printers.push(runtime::spawn(printer));
            }
        }
        self.children.push(child);
        Ok(next)
    }

    /// Waits until all have ended. May be dropped and called again.
    async fn wait(&mut self) -> io::Result<Vec<ExitStatus>> {
        let mut statuses = Vec::new();
        for child in &mut self.children {
            statuses.push(child.wait().await?);
        }
        Ok(statuses)
    }

    fn signal(&mut self, kind: SignalKind) {
        self.tell(|child| child.signal(kind));
    }

    fn kill(&mut self) {
        self.tell(Child::start_kill);
    }

    fn tell(&mut self, send: impl Fn(&mut Child) -> io::Result<()>) {
        for child in &mut self.children {
            if let Err(error) = send(child) {
                eprintln!("run: a part cannot be signalled: {error}");
            }
        }
    }

    /// Shows what is still in the pipes. Whom a part has left behind may hold them open for ever.
    async fn last_words(self) {
        let all = async {
            for printer in self.printers {
                if let Err(error) = printer.await {
                    eprintln!("run: {error}");
                }
            }
        };
        if timeout(LAST_WORDS, all).await.is_err() {
            eprintln!("run: somebody holds the output open");
        }
    }
}

/// Shows lines as they come, each with the mark in front.
async fn print_lines(stream: PipeReader, mark: String) {
    let mut buf = vec![0; LONGEST_LINE];
    let mut line = Vec::new();
    loop {
        let (read, back) = stream.read(buf).await;
        buf = back;
        match read {
            Ok(0) => break,
            Ok(n) => line.extend_from_slice(&buf[..n]),
            Err(error) => {
                eprintln!("run: {mark} {error}");
                break;
            }
        }
        let whole = match line.iter().rposition(|byte| *byte == b'\n') {
            Some(end) => end + 1,
            None if line.len() >= LONGEST_LINE => line.len(),
            None => continue,
        };
        if print(&mark, &line[..whole]).is_err() {
            // Nobody reads it any more. Whose pipe this closes gets to know when it goes on.
            return;
        }
        line.drain(..whole);
    }
    if !line.is_empty() {
        // As above; it is over anyway.
        let _ = print(&mark, &line);
    }
}

fn print(mark: &str, lines: &[u8]) -> io::Result<()> {
    let mut marked = Vec::with_capacity(lines.len() * 2);
    for line in lines.split_inclusive(|byte| *byte == b'\n') {
        marked.extend_from_slice(mark.as_bytes());
        marked.extend_from_slice(line);
    }
    if marked.last() != Some(&b'\n') {
        marked.push(b'\n');
    }
    let mut stdout = io::stdout().lock();
    stdout.write_all(&marked)?;
    stdout.flush()
}

impl Options {
    /// `None`: there is nothing to be done.
    fn parse() -> Result<Option<Options>, String> {
        let mut options = Options {
            parts: Vec::new(),
            timeout: None,
            kill_after: GRACE,
        };
        let mut args = lexopt::Parser::from_env();
        while let Some(arg) = args.next().map_err(|error| error.to_string())? {
            match arg {
                Long("timeout") => options.timeout = Some(duration(&mut args)?),
                Long("kill-after") => options.kill_after = duration(&mut args)?,
                Long("help") | Short('h') => {
                    print!("{HELP}");
                    return Ok(None);
                }
                Value(part) => options.parts.push(part.to_string_lossy().into_owned()),
                other => return Err(other.unexpected().to_string()),
            }
        }
        if options.parts.is_empty() {
            return Err("there is nothing to run".into());
        }
        Ok(Some(options))
    }
}

fn duration(args: &mut lexopt::Parser) -> Result<Duration, String> {
    let text = args.value().map_err(|error| error.to_string())?;
    let text = text.to_string_lossy();
    let number_len = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(number_len);
    let unit_seconds = match unit {
        "ms" => 0.001,
        "s" | "" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => f64::NAN,
    };
    let seconds = number.parse::<f64>().unwrap_or(f64::NAN) * unit_seconds;
    Duration::try_from_secs_f64(seconds).map_err(|_| format!("`{text}` is no time: 500ms, 2s, 1m"))
}

/// The signals by which somebody wants this to end.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn listen() -> io::Result<Signals> {
        Ok(Signals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> SignalKind {
        or(
            told(&mut self.interrupt, SignalKind::interrupt()),
            or(
                told(&mut self.terminate, SignalKind::terminate()),
                told(&mut self.hangup, SignalKind::hangup()),
            ),
        )
        .await
    }
}

async fn told(signal: &mut Signal, kind: SignalKind) -> SignalKind {
    signal.recv().await;
    kind
}
