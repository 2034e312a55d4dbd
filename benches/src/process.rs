//! Processes that are told what to do by lines, and answer by lines.

use std::io::{self, Read, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;

/// With this, and what went wrong, begins what such a process says if it has nothing else to say.
pub const FAILED: &str = "failed: ";

/// One that was started. It ends as this goes out of scope.
#[derive(Debug)]
pub struct Process {
    child: Child,
    /// What it has printed after the last line that was taken.
    unread: Vec<u8>,
}

impl Process {
    /// Starts one that is told things and answers, a line each.
    pub fn start(command: &mut Command) -> io::Result<Process> {
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped());
        Ok(Process {
            child: child.spawn()?,
            unread: Vec::new(),
        })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Says a line, and takes the answer, which is to come within `patience`.
    ///
    /// # Errors
    ///
    /// As of [`line`](Process::line), and if it has ended without one.
    pub fn ask(&mut self, said: &str, patience: Duration) -> io::Result<String> {
        if let Some(to) = &mut self.child.stdin {
            // Whoever has broken off does not read it, and may have said why.
            let _ = writeln!(to, "{said}");
        }
        let answer = self.line(patience)?;
        if answer.is_empty() {
            return Err(io::Error::other("it broke off"));
        }
        Ok(answer)
    }

    /// Asks no more, and waits for it to end.
    pub fn finish(&mut self, patience: Duration) -> io::Result<()> {
        self.child.stdin = None;
        self.line(patience)?;
        Ok(())
    }

    /// The next line it prints, empty if it ended without one.
    ///
    /// # Errors
    ///
    /// What it says has failed; `TimedOut` after `patience`: then it hangs.
    pub fn line(&mut self, patience: Duration) -> io::Result<String> {
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
        Process::start(Command::new(program).arg(argument)).unwrap()
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
        let mut process = Process::start(Command::new("sh").args(["-c", "cat; echo failed: late"]));
        let process = process.as_mut().unwrap();
        assert_eq!(process.ask("one", Duration::from_secs(60)).unwrap(), "one");
        let ended = process.finish(Duration::from_secs(60));
        assert_eq!(ended.unwrap_err().to_string(), "late");
    }
}
