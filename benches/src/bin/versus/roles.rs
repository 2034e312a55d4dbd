//! The processes that `versus` starts: servers, loads, and those who work alone. Each is this program, told its part.

use std::error::Error;
use std::io::{self, Read, Write};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use annulet_benches::cores;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use rustix::process::{
    Resource, Rlimit, Signal, getrlimit, set_parent_process_death_signal, setrlimit,
};
use serde::{Deserialize, Serialize};

use crate::contenders::{self, Job};
use crate::meter::{Asked, Measure, Meter};
use crate::workloads::{self, Kind, Plan};
use crate::works::Task;

/// How long a part may take.
const PART: Duration = Duration::from_secs(30);

/// What such a process is there for; it goes over the command line.
#[derive(Serialize, Deserialize)]
pub(crate) enum Role {
    Serve {
        contender: String,
        workload: String,
        job: Job,
        core: Option<usize>,
    },
    Load {
        workload: String,
        plan: Plan,
        core: Option<usize>,
    },
    Work {
        contender: String,
        task: Task,
        core: Option<usize>,
    },
}

/// With this, and what went wrong, begins what such a process says if it has nothing else to say.
const FAILED: &str = "failed: ";

impl Role {
    /// Plays it, and tells whoever started it if that fails.
    pub(crate) fn play(self) -> ExitCode {
        let Err(error) = self.act() else {
            return ExitCode::SUCCESS;
        };
        // Perhaps nobody listens any more.
        let _ = writeln!(io::stdout(), "{FAILED}{error}");
        ExitCode::FAILURE
    }

    fn act(self) -> Result<(), Box<dyn Error>> {
        // Whoever started this process reads from it, and may be interrupted.
        set_parent_process_death_signal(Some(Signal::KILL))?;
        allow_descriptors()?;
        match self {
            Role::Serve {
                contender,
                workload,
                job,
                core,
            } => {
                cores::pin(core)?;
                let contender = contenders::named(&contender)?;
                let Kind::Served { service, .. } = workloads::named(&workload)?.kind else {
                    return Err(format!("{workload} has no server").into());
                };
                let serve = contender.service(service);
                serve.ok_or_else(|| format!("{} has no {service:?}", contender.name))?(&job)?;
            }
            Role::Load {
                workload,
                plan,
                core,
            } => {
                cores::pin(core)?;
                let Kind::Served { load, .. } = workloads::named(&workload)?.kind else {
                    return Err(format!("{workload} has no load").into());
                };
                load(&plan, &mut Meter::of_server(plan.server_pid))?;
            }
            Role::Work {
                contender,
                task,
                core,
            } => {
                cores::pin(core)?;
                let contender = contenders::named(&contender)?;
                let work = contender.work(task.work);
                work.ok_or_else(|| format!("{} has no {:?}", contender.name, task.work))?(
                    &task,
                    &mut Meter::own(),
                )?;
            }
        }
        Ok(())
    }

    pub(crate) fn start(&self) -> io::Result<Process> {
        let child = Command::new(std::env::current_exe()?)
            .arg("--role")
            .arg(serde_json::to_string(self)?)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        Ok(Process::of(child))
    }
}

/// As many as may be: ten thousand connections are ten thousand descriptors.
fn allow_descriptors() -> io::Result<()> {
    let limit = getrlimit(Resource::Nofile);
    let all = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    Ok(setrlimit(Resource::Nofile, all)?)
}

/// Asks the program `parts`, which is built beside this one, what a part costs a contender; none: it has no such part.
pub(crate) fn part(row: &str, contender: &str) -> Result<Option<f64>, Box<dyn Error>> {
    let program = std::env::current_exe()?.with_file_name("parts");
    let child = Command::new(&program)
        .args(["--ask", row, contender])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| format!("cannot run {}: {error}", program.display()))?;
    let line = Process::of(child).line(PART)?;
    match &*line {
        "none" => Ok(None),
        "" => Err("it broke off".into()),
        figure => Ok(Some(figure.parse()?)),
    }
}

/// One that was started. It ends as this goes out of scope.
pub(crate) struct Process {
    child: Child,
    /// What it has printed after the last line that was taken.
    unread: Vec<u8>,
}

impl Process {
    fn of(child: Child) -> Process {
        Process {
            child,
            unread: Vec::new(),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Has a load, or one who works alone, measure; it is to answer within `patience`.
    pub(crate) fn ask(
        &mut self,
        asked: Asked,
        patience: Duration,
    ) -> Result<Measure, Box<dyn Error>> {
        if let Some(to) = &mut self.child.stdin {
            // Whoever has broken off does not read it, and may have said why.
            let _ = writeln!(to, "{}", serde_json::to_string(&asked)?);
        }
        match &*self.line(patience)? {
            "" => Err("it broke off".into()),
            line => Ok(serde_json::from_str(line)?),
        }
    }

    /// Asks no more, and waits for it to end.
    pub(crate) fn finish(&mut self, patience: Duration) -> io::Result<()> {
        self.child.stdin = None;
        self.line(patience)?;
        Ok(())
    }

    /// The next line it prints, empty if it ended without one.
    ///
    /// # Errors
    ///
    /// What it says has failed; `TimedOut` after `patience`: then it hangs.
    pub(crate) fn line(&mut self, patience: Duration) -> io::Result<String> {
        let deadline = Instant::now() + patience;
        let end = loop {
            if let Some(end) = self.unread.iter().position(|byte| *byte == b'\n') {
                break end + 1;
            }
            let Some(out) = &mut self.child.stdout else {
                break self.unread.len();
            };
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec::try_from(left).map_err(io::Error::other)?;
            let mut wanted = [PollFd::new(out, PollFlags::IN)];
            if retry_on_intr(|| poll(&mut wanted, Some(&left)))? == 0 {
                let told = format!("nothing for {} s", patience.as_secs());
                return Err(io::Error::new(io::ErrorKind::TimedOut, told));
            }
            let mut chunk = [0; 4096];
            match out.read(&mut chunk)? {
                0 => break self.unread.len(),
                n => self.unread.extend_from_slice(&chunk[..n]),
            }
        };
        let line: Vec<u8> = self.unread.drain(..end).collect();
        let line = String::from_utf8_lossy(&line);
        match line.strip_prefix(FAILED) {
            Some(failed) => Err(io::Error::other(failed.trim().to_owned())),
            None => Ok(line.trim().to_owned()),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(program: &str, argument: &str) -> Process {
        let mut command = Command::new(program);
        command.arg(argument).stdout(Stdio::piped());
        Process::of(command.spawn().unwrap())
    }

    #[test]
    fn who_says_nothing_is_not_waited_for_for_ever() {
        let mut silent = started("sleep", "1000");
        let error = silent.line(Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[test]
    fn lines_come_one_by_one_and_who_has_ended_says_nothing() {
        let patience = Duration::from_secs(60);
        let mut two = started("printf", "one\\ntwo\\nrest");
        let lines = [(); 4].map(|()| two.line(patience).unwrap());
        assert_eq!(lines, ["one", "two", "rest", ""]);
        let failed = started("printf", "failed: why").line(patience);
        assert_eq!(failed.unwrap_err().to_string(), "why");
    }

    #[test]
    fn who_fails_in_the_end_says_so() {
        let mut command = Command::new("sh");
        command.args(["-c", "cat; echo failed: late"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::of(command.spawn().unwrap());
        let ended = process.finish(Duration::from_secs(60));
        assert_eq!(ended.unwrap_err().to_string(), "late");
    }
}
