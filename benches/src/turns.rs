//! Contenders take turns, so that whatever else the machine does hits all of them.

use std::error::Error;
use std::io;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::Process;

/// Whose turn it is, of `count` in so many laps, by their numbers: in each lap another one begins than in the lap
/// before, and each has another one before it. Nobody has two turns running, if there are more than two.
pub fn order(laps: u32, count: usize) -> impl Iterator<Item = (u32, usize)> {
    (0..laps).flat_map(move |lap| {
        let first = lap as usize + lap as usize / 2;
        // Forth, and back.
        let step = if lap % 2 == 0 {
            1
        } else {
            count.saturating_sub(1)
        };
        (0..count).map(move |turn| (lap, (first + turn * step) % count))
    })
}

/// How often a contender is asked for a part.
pub const LAPS: u32 = 5;
/// How long it may take to answer: it hangs after that.
const PATIENCE: Duration = Duration::from_secs(30);

/// What a part costs by the lap; empty: it has no such part.
pub type Laps = Result<Vec<f64>, Box<dyn Error>>;

/// Asks the program `parts` what a part costs each of some contenders. Each is a process, and asleep but for its turn;
/// `turn` is told whose it is.
pub fn ask_for_a_part(
    program: &Path,
    row: &str,
    contenders: &[&str],
    mut turn: impl FnMut(&str),
) -> Vec<Laps> {
    let mut asked: Vec<Result<Part, Box<dyn Error>>> = contenders
        .iter()
        .map(|contender| Part::start(program, row, contender))
        .collect();
    for (_, index) in order(LAPS, contenders.len()) {
        turn(contenders[index]);
        if let Ok(part) = &mut asked[index]
            && let Err(error) = part.lap()
        {
            asked[index] = Err(error);
        }
    }
    asked.into_iter().map(|part| part?.finish()).collect()
}

/// One contender at a part.
struct Part {
    /// None: it has no such part.
    process: Option<Process>,
    laps: Vec<f64>,
}

impl Part {
    /// Returns when it has warmed up.
    fn start(program: &Path, row: &str, contender: &str) -> Result<Part, Box<dyn Error>> {
        let mut command = Command::new(program);
        command.args(["--ask", row, contender]);
        let started = Process::start(command.stderr(Stdio::null()));
        let mut process =
            started.map_err(|error| format!("cannot run {}: {error}", program.display()))?;
        let process = match &*process.line(PATIENCE)? {
            NONE => None,
            READY => Some(process),
            _ => return Err("it broke off".into()),
        };
        let laps = Vec::new();
        Ok(Part { process, laps })
    }

    fn lap(&mut self) -> Result<(), Box<dyn Error>> {
        if let Some(process) = &mut self.process {
            self.laps.push(process.ask(LAP, PATIENCE)?.parse()?);
        }
        Ok(())
    }

    fn finish(self) -> Laps {
        if let Some(mut process) = self.process {
            process.finish(PATIENCE)?;
        }
        Ok(self.laps)
    }
}

const READY: &str = "ready";
const NONE: &str = "none";
const LAP: &str = "lap";

/// On the other side: says that there is no such part.
pub fn no_such_part() {
    println!("{NONE}");
}

/// On the other side: answers with what `lap` costs as often as it is asked.
pub fn answer(mut lap: impl FnMut() -> f64) {
    println!("{READY}");
    for _asked in io::stdin().lines() {
        println!("{}", lap());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_each_lap_each_has_a_turn_and_another_one_begins() {
        for count in 3..20 {
            let turns: Vec<usize> = order(5, count).map(|turn| turn.1).collect();
            let laps: Vec<&[usize]> = turns.chunks(count).collect();
            for lap in &laps {
                let mut all = lap.to_vec();
                all.sort_unstable();
                assert!(all.into_iter().eq(0..count), "{lap:?}");
            }
            assert!(
                laps.windows(2).all(|two| two[0][0] != two[1][0]),
                "{laps:?}"
            );
            assert!(turns.windows(2).all(|two| two[0] != two[1]), "{laps:?}");
            let before =
                |lap: &[usize]| lap[(lap.iter().position(|c| *c == 1)? + count - 1) % count].into();
            let befores: Vec<Option<usize>> = laps.iter().map(|lap| before(lap)).collect();
            assert!(befores.windows(2).all(|two| two[0] != two[1]), "{laps:?}");
        }
        assert_eq!(order(3, 0).count(), 0);
    }
}
