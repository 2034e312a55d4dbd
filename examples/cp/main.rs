//! Copies files and trees of them: `cp -r`, with what it has done so far.
//!
//! ```sh
//! cargo run --release --example cp -- -r target/doc /tmp/doc
//! ```
//!
//! Directories are walked and created through the ring, several at a time (`walk.rs`). The copying itself has no
//! operation on the ring: the kernel does it without the bytes passing through here, on threads of the pool, some files
//! at a time (`batch.rs`). This file is the command line, and what keeps both busy. Modes, times and symbolic links are
//! kept; owners and extended attributes are not.
//!
//! The exit code is 0 if all was copied, 1 if something was not, 2 if the command line made no sense.

mod batch;
mod walk;

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use indicatif::{BinaryBytes, HumanCount, ProgressBar, ProgressStyle};
use lexopt::prelude::*;
use runtime::task::JoinSet;

use crate::batch::{Batch, Counts};
use crate::walk::{Tree, Walked};

const HELP: &str = "\
Copies files, on io_uring.

    cp [-r] SOURCE... DESTINATION

    -r, --recursive   copy directories and all that is in them
    -q, --quiet       only errors
    -h, --help        this text

A DESTINATION that is a directory is copied into; with several SOURCEs it must be one.
";

/// Directories being walked and batches being copied at a time; more than this only wait for each other.
const AT_ONCE: usize = 8;

fn main() -> ExitCode {
    let options = match Options::parse() {
        Ok(Some(options)) => options,
        Ok(None) => return ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cp: {error}\n  --help tells what there is");
            return ExitCode::from(2);
        }
    };
    let copied = runtime::block_on(run(&options));
    match copied.unwrap_or_else(|error| Err(format!("cannot make a ring: {error}"))) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(failures) => {
            eprintln!("cp: {failures} not copied");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("cp: {error}");
            ExitCode::FAILURE
        }
    }
}

struct Options {
    sources: Vec<PathBuf>,
    destination: PathBuf,
    recursive: bool,
    quiet: bool,
}

impl Options {
    /// What the program was called with; `None` if that was a call for help, which is then printed.
    fn parse() -> Result<Option<Options>, lexopt::Error> {
        let (mut paths, mut recursive, mut quiet) = (Vec::new(), false, false);
        let mut args = lexopt::Parser::from_env();
        while let Some(arg) = args.next()? {
            match arg {
                Short('r' | 'R') | Long("recursive") => recursive = true,
                Short('q') | Long("quiet") => quiet = true,
                Short('h') | Long("help") => {
                    print!("{HELP}");
                    return Ok(None);
                }
                Value(path) => paths.push(PathBuf::from(path)),
                other => return Err(other.unexpected()),
            }
        }
        let destination = paths.pop().ok_or("what is to be copied, and where to?")?;
        if paths.is_empty() {
            return Err(format!("where is {} to be copied to?", destination.display()).into());
        }
        Ok(Some(Options {
            sources: paths,
            destination,
            recursive,
            quiet,
        }))
    }
}

/// How many things were not copied.
async fn run(options: &Options) -> Result<usize, String> {
    let started = Instant::now();
    let mut copy = Copy::new(options.quiet);
    let into = is_dir(&options.destination).await;
    if !into && options.sources.len() > 1 {
        let destination = options.destination.display();
        return Err(format!(
            "{destination} is no directory, which several sources need"
        ));
    }
    for source in &options.sources {
        let name = source.file_name().filter(|_| into);
        let to = match name {
            Some(name) => options.destination.join(name),
            None => options.destination.clone(),
        };
        if let Err(error) = copy.add(source, to, options.recursive).await {
            copy.fail(error);
        }
    }
    copy.work().await;
    copy.bar.finish_and_clear();
    if !options.quiet {
        let counts = &copy.done;
        println!(
            "copied {} files, {} directories, {} links, {} in {:.2?}",
            HumanCount(counts.files),
            HumanCount(copy.dirs.len() as u64),
            HumanCount(counts.links),
            BinaryBytes(counts.bytes),
            started.elapsed(),
        );
    }
    Ok(copy.failures)
}

async fn is_dir(path: &Path) -> bool {
    runtime::fs::metadata(path)
        .await
        .is_ok_and(|what| what.is_dir())
}

/// What is to be done yet, and what has been.
struct Copy {
    bar: ProgressBar,
    tasks: JoinSet<Done>,
    trees: Vec<Tree>,
    batches: Vec<Batch>,
    /// Those created, in an order in which each comes after the one it is in.
    dirs: Vec<Tree>,
    done: Counts,
    failures: usize,
}

enum Done {
    Walked(Walked),
    Copied(Counts),
}

impl Copy {
    fn new(quiet: bool) -> Copy {
        let bar = if quiet {
            ProgressBar::hidden()
        } else {
            ProgressBar::new(0)
        };
        let style = "{bar:30} {human_pos} of {human_len} files  {msg}  {elapsed}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        Copy {
            bar,
            tasks: JoinSet::new(),
            trees: Vec::new(),
            batches: Vec::new(),
            dirs: Vec::new(),
            done: Counts::default(),
            failures: 0,
        }
    }

    async fn add(&mut self, from: &Path, to: PathBuf, recursive: bool) -> Result<(), String> {
        let cannot = |error: io::Error| format!("cannot copy {}: {error}", from.display());
        let from = from.to_owned();
        // A link that is named by the user is followed; one that is found is not.
        let what = runtime::fs::metadata(&from).await.map_err(cannot)?;
        if what.is_dir() {
            let name = from.display();
            if !recursive {
                return Err(format!("{name} is a directory: -r copies directories"));
            }
            if walk::is_within(&from, &to).await.map_err(cannot)? {
                return Err(format!(
                    "{name} cannot be copied into itself, {}",
                    to.display()
                ));
            }
            self.trees.push(Tree { from, to });
        } else {
            self.bar.inc_length(1);
            self.batches.push(Batch::of_one(from, to));
        }
        Ok(())
    }

    /// Keeps the thread pool and the ring busy until there is nothing left to do.
    async fn work(&mut self) {
        loop {
            while self.tasks.len() < AT_ONCE
                && let Some(task) = self.next_task()
            {
                task(&mut self.tasks);
            }
            match self.tasks.join_next().await {
                Some(Ok(Done::Walked(walked))) => self.walked(walked),
                Some(Ok(Done::Copied(counts))) => self.copied(counts),
                Some(Err(error)) => self.fail(error.to_string()),
                None => break,
            }
        }
        // Last, as what is put into a directory changes its time; the inner before the outer.
        let mut dirs = self.dirs.clone();
        dirs.reverse();
        match runtime::task::spawn_blocking(move || walk::finish(&dirs)).await {
            Ok(errors) => errors.into_iter().for_each(|error| self.fail(error)),
            Err(error) => self.fail(error.to_string()),
        }
    }

    /// Files first, so that their paths do not pile up.
    fn next_task(&mut self) -> Option<impl FnOnce(&mut JoinSet<Done>) + use<>> {
        let (batch, tree) = match self.batches.pop() {
            Some(batch) => (Some(batch), None),
            None => (None, Some(self.trees.pop()?)),
        };
        let bar = self.bar.clone();
        Some(move |tasks: &mut JoinSet<Done>| {
            if let Some(batch) = batch {
                tasks.spawn_blocking(move || Done::Copied(batch.copy(&bar)));
            } else if let Some(tree) = tree {
                tasks.spawn(async move { Done::Walked(tree.walk().await) });
            }
        })
    }

    fn walked(&mut self, walked: Walked) {
        self.dirs.extend(walked.created);
        self.trees.extend(walked.trees);
        self.bar
            .inc_length(walked.batches.iter().map(Batch::len).sum());
        self.batches.extend(walked.batches);
        walked.errors.into_iter().for_each(|error| self.fail(error));
    }

    fn copied(&mut self, mut counts: Counts) {
        let errors = std::mem::take(&mut counts.errors);
        self.done += counts;
        self.bar
            .set_message(BinaryBytes(self.done.bytes).to_string());
        errors.into_iter().for_each(|error| self.fail(error));
    }

    fn fail(&mut self, error: String) {
        self.failures += 1;
        self.bar.suspend(|| eprintln!("cp: {error}"));
    }
}
