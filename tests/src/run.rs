//! How a scenario is run: under a watchdog, here or in a process of its own; and how it is skipped.

use std::cell::RefCell;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::process::Command;
use std::sync::{Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::Ring;

/// The test that a child process was started for.
const ALONE: &str = "ANNULET_ALONE";
/// How long a test may take; far more than any needs.
const LIMIT: Duration = Duration::from_secs(60);

thread_local! {
    static NAME: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs a scenario in this process. `path` is the test's path, with its crate's name in front.
pub fn here(path: &str, ring: Ring, scenario: impl FnOnce(Ring)) {
    let name = name_of(path);
    NAME.set(Some(name.to_owned()));
    if let Some(reason) = ring.missing() {
        return skip(&reason);
    }
    let _watched = watchdog(name, LIMIT);
    scenario(ring);
}

/// Runs a scenario in a process of its own: this test program again, with no other test in it.
///
/// # Panics
///
/// If the scenario fails there.
pub fn alone(path: &str, ring: Ring, scenario: impl FnOnce(Ring)) {
    apart(path, |_| {}, || here(path, ring, scenario));
}

/// Runs a test in a process of its own that `prepare` sets up: its environment, its user.
///
/// # Panics
///
/// If the test fails there.
pub fn apart(path: &str, prepare: impl FnOnce(&mut Command), test: impl FnOnce()) {
    let name = name_of(path);
    if std::env::var_os(ALONE).is_some_and(|chosen| chosen == name) {
        NAME.set(Some(name.to_owned()));
        let _watched = watchdog(name, LIMIT);
        return test();
    }
    let program = std::env::current_exe().expect("this program has a path");
    let mut command = Command::new(program);
    command
        .args([name, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, name);
    prepare(&mut command);
    let output = match command.output() {
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return skip(&format!(
                "this program may not be started like that: {error}"
            ));
        }
        output => output.expect("this program can be started once more"),
    };
    print!("{}", String::from_utf8_lossy(&output.stdout));
    eprint!("{}", String::from_utf8_lossy(&output.stderr));
    assert!(
        output.status.success(),
        "{name}, in a process of its own: {}",
        output.status
    );
    let ran = String::from_utf8_lossy(&output.stdout).contains("1 passed");
    assert!(ran, "{name} was not run in its own process");
}

fn name_of(path: &str) -> &str {
    path.split_once("::").map_or(path, |(_, name)| name)
}

/// Notes that this test cannot run here: prints why, and adds a line to the file `$ANNULET_SKIPS`, which CI counts.
///
/// The test returns after it.
///
/// # Panics
///
/// If that file cannot be written.
pub fn skip(reason: &str) {
    let name = test_name();
    println!("skipped: {name}: {reason}");
    if let Some(path) = std::env::var_os("ANNULET_SKIPS") {
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .expect("the file of skips opens");
        // One write a line: tests run side by side.
        file.write_all(format!("{name}: {reason}\n").as_bytes())
            .expect("the file of skips is written");
    }
}

/// The test this is called in; its thread's name outside of a scenario.
pub fn test_name() -> String {
    let name = NAME.with_borrow(Clone::clone);
    let name = name.or_else(|| std::thread::current().name().map(str::to_owned));
    name.unwrap_or_default()
}

/// Ends the process, saying `name`, unless what this returns is dropped within `limit`.
pub fn watchdog(name: &str, limit: Duration) -> Watched {
    let dog = DOG.get_or_init(|| {
        let (up, is_up) = std::sync::mpsc::channel();
        let thread = std::thread::Builder::new().name("watchdog".into());
        // Up, with its name, before a test counts threads.
        thread
            .spawn(move || up.send(()).is_ok().then(watch))
            .expect("a thread starts");
        is_up.recv().expect("it is up");
        Dog::default()
    });
    let mut list = dog.watched.lock().unwrap_or_else(PoisonError::into_inner);
    list.next += 1;
    let id = list.next;
    list.tests
        .push((id, name.to_owned(), Instant::now() + limit));
    dog.changed.notify_one();
    Watched { id }
}

/// Gives the running scenario this long, from now on, instead of the usual minute.
pub fn give_time(limit: Duration) {
    let (name, end) = (test_name(), Instant::now() + limit);
    if let Some(dog) = DOG.get() {
        let mut list = dog.watched.lock().unwrap_or_else(PoisonError::into_inner);
        for (_, _, its_end) in list
            .tests
            .iter_mut()
            .filter(|(_, its_name, _)| *its_name == name)
        {
            *its_end = end;
        }
    }
}

/// From [`watchdog`].
#[derive(Debug)]
#[must_use = "the watch ends when this is dropped"]
pub struct Watched {
    id: u64,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(dog) = DOG.get() {
            let mut list = dog.watched.lock().unwrap_or_else(PoisonError::into_inner);
            list.tests.retain(|(id, ..)| *id != self.id);
        }
    }
}

/// One thread watches all tests of the process.
static DOG: OnceLock<Dog> = OnceLock::new();

#[derive(Default)]
struct Dog {
    watched: Mutex<List>,
    changed: Condvar,
}

#[derive(Default)]
struct List {
    next: u64,
    tests: Vec<(u64, String, Instant)>,
}

fn watch() {
    let dog = DOG.wait();
    let mut list = dog.watched.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let now = Instant::now();
        if let Some((_, name, _)) = list.tests.iter().find(|(_, _, end)| *end <= now) {
            // Not `eprintln`: the test runner would keep that to itself until the test ends, which it does not.
            let _ = std::io::stderr().write_all(format!("\nHANGS: {name}\n").as_bytes());
            std::process::abort();
        }
        let next = list.tests.iter().map(|(_, _, end)| *end - now).min();
        let wait = next.unwrap_or(Duration::from_secs(3600));
        list = dog
            .changed
            .wait_timeout(list, wait)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
    }
}
