//! Functions of several operations, dropped at each of their awaits, out of descriptors at each of their calls.
//!
//! List a function in `spec!` and write it as the others are: what it needs is made in its own directory, by std, and it
//! is dropped before its first poll, before its second, and so on until it completes; then it is refused its first
//! descriptor, its second, and so on. Afterwards every descriptor is closed, no operation is left, and the directory is
//! as the last argument says it may be.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io;
use std::path::Path;
use std::pin::pin;
use std::process::Stdio;
use std::task::Poll;

use annulet_tests::{Ring, fds, metrics, spec, until};
use runtime::net::{TcpListener, TcpStream, UdpSocket};
use runtime::{Op, fs, op};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::TempDir;

use crate::files::TARGET;

spec! {
    alone chains_leave_nothing;
    alone connections_leave_nothing;
    alone copying_leaves_nothing;
    alone creating_directories_leaves_nothing;
    alone datagrams_leave_nothing;
    alone files_leave_nothing;
    alone looking_around_leaves_nothing;
    alone programs_leave_nothing;
    alone removing_a_tree_leaves_nothing_but_the_tree;
    alone replacing_a_file_leaves_the_old_or_the_new;
    alone temporary_files_leave_nothing;
}

/// Polls `future` no more than `polls` times; `None`: it was dropped.
async fn dropped_after(
    polls: usize,
    future: impl Future<Output = io::Result<()>>,
) -> Option<io::Result<()>> {
    let mut future = pin!(future);
    let left = Cell::new(polls);
    poll_fn(|cx| {
        if left.get() == 0 {
            return Poll::Ready(None);
        }
        left.set(left.get() - 1);
        match future.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(Some(result)),
            // Dropped when it waits, not when what it waits for is there.
            Poll::Pending if left.get() == 0 => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Descriptors are closed in the background, by the pool's threads too.
fn settled(before: &[(i32, String)]) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while fds() != before {
        assert!(std::time::Instant::now() < end, "left open: {:?}", fds());
        std::thread::yield_now();
    }
}

fn at_every_await(
    ring: Ring,
    prepare: fn(&Path),
    function: impl AsyncFn(&Path) -> io::Result<()>,
    check: impl Fn(&Path),
) {
    // What is opened once and for all.
    let (warm, _) = run(ring, usize::MAX, None, prepare, &function, true);
    warm.expect("it was not dropped").unwrap();
    let before = fds();
    for ends in [true, false] {
        for polls in 0.. {
            assert!(polls < 500, "it never completes");
            let (completed, dir) = run(ring, polls, None, prepare, &function, ends);
            settled(&before);
            check(dir.path());
            if let Some(result) = completed {
                result.unwrap();
                break;
            }
        }
    }
    // And out of descriptors: each it makes may be the one that is missing.
    for spare in 0.. {
        assert!(spare < 100, "it is never enough");
        let (completed, dir) = run(ring, usize::MAX, Some(spare), prepare, &function, true);
        settled(&before);
        check(dir.path());
        if completed.expect("it was not dropped").is_ok() {
            break;
        }
    }
}

/// No more descriptors than there are, and so many, until it is dropped.
struct Limited(Rlimit);

impl Limited {
    fn to(spare: usize) -> Limited {
        let before = getrlimit(Resource::Nofile);
        let current = Some((fds().len() + spare) as u64);
        setrlimit(Resource::Nofile, Rlimit { current, ..before }).expect("it is lowered");
        Limited(before)
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        setrlimit(Resource::Nofile, self.0).expect("it is raised to what it was");
    }
}

/// `spare`: so many descriptors can be had. `ends`: the runtime ends in that moment; otherwise it goes on until all has
/// settled.
fn run(
    ring: Ring,
    polls: usize,
    spare: Option<usize>,
    prepare: fn(&Path),
    function: &impl AsyncFn(&Path) -> io::Result<()>,
    ends: bool,
) -> (Option<io::Result<()>>, TempDir) {
    let dir = TempDir::new_in(TARGET).expect("a temporary directory");
    prepare(dir.path());
    let runtime = ring.runtime();
    let driver = runtime.driver().clone();
    let completed = runtime.block_on(async {
        let limited = spare.map(Limited::to);
        let completed = dropped_after(polls, function(dir.path())).await;
        drop(limited);
        if !ends {
            until(|| metrics().in_flight == 0).await;
        }
        completed
    });
    drop(runtime);
    let left = driver.metrics();
    assert_eq!((left.in_flight, left.live), (0, 0), "after {polls} polls");
    (completed, dir)
}

fn nothing(_: &Path) {}

/// The names in a directory.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<_> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn chains_leave_nothing(ring: Ring) {
    at_every_await(
        ring,
        nothing,
        async |dir| {
            let file = fs::File::create(dir.join("file")).await?;
            let file = runtime::Fd::new(file.into_std().await?.into());
            let (written, synced, closed) = runtime::chain((
                Op::on(&file, op::Write::at("content", 0)),
                Op::on(&file, op::Fsync::all()),
                op::CloseFd::of(&file),
            ))
            .await;
            assert_eq!(written.0?, 7);
            synced.and(closed)?;
            Ok(())
        },
        nothing,
    );
}

fn connections_leave_nothing(ring: Ring) {
    at_every_await(
        ring,
        nothing,
        async |_| {
            let listener = TcpListener::bind("localhost:0").await?;
            let port = listener.local_addr()?.port();
            let client = TcpStream::connect(("localhost", port)).await?;
            let (server, _) = listener.accept().await?;
            client.write_all(vec![7; 100]).await.0?;
            server.read_exact(vec![0; 100]).await.0?;
            let (read, write) = client.into_split();
            let client = read.reunite(write).expect("they belong together");
            let client = client.into_std().await?;
            let client = TcpStream::from_std(client)?;
            client.close().await?;
            assert_eq!(server.read(vec![0; 8]).await.0?, 0);
            Ok(())
        },
        nothing,
    );
}

fn copying_leaves_nothing(ring: Ring) {
    at_every_await(
        ring,
        |dir| std::fs::write(dir.join("from"), vec![7; 100_000]).unwrap(),
        async |dir| {
            let copied = fs::copy(dir.join("from"), dir.join("to")).await?;
            assert_eq!(copied, 100_000);
            Ok(())
        },
        nothing,
    );
}

fn creating_directories_leaves_nothing(ring: Ring) {
    at_every_await(
        ring,
        nothing,
        async |dir| {
            fs::create_dir_all(dir.join("a/b/c")).await?;
            let above = fs::Dir::open(dir.join("a")).await?;
            let below = above.open_dir("b").await?;
            below.create_dir("d").await?;
            below.rename("d", &above, "e").await?;
            above.remove_dir("e").await?;
            below.close().await?;
            Ok(())
        },
        nothing,
    );
}

fn datagrams_leave_nothing(ring: Ring) {
    at_every_await(
        ring,
        nothing,
        async |_| {
            let ours = UdpSocket::bind("localhost:0").await?;
            let theirs = UdpSocket::bind("localhost:0").await?;
            ours.connect(theirs.local_addr()?).await?;
            ours.send(vec![7; 100]).await.0?;
            let (received, _) = theirs.recv(vec![0; 200]).await;
            assert_eq!(received?, 100);
            Ok(())
        },
        nothing,
    );
}

fn files_leave_nothing(ring: Ring) {
    at_every_await(
        ring,
        |dir| std::fs::write(dir.join("old"), "old").unwrap(),
        async |dir| {
            fs::write(dir.join("new"), vec![7; 10_000]).await?;
            assert_eq!(fs::read(dir.join("new")).await?, [7; 10_000]);
            assert_eq!(fs::read_to_string(dir.join("old")).await?, "old");
            let file = fs::File::options()
                .read(true)
                .append(true)
                .open(dir.join("old"))
                .await?;
            file.write_all("er").await.0?;
            file.rewind().await?;
            assert_eq!(file.read_to_string(String::new()).await.1, "older");
            file.set_len(2).await?;
            file.lock().await?;
            file.set_permissions(file.metadata().await?.permissions())
                .await?;
            file.sync_all().await?;
            drop(file.into_std().await?);
            fs::rename(dir.join("old"), dir.join("older")).await?;
            fs::remove_file(dir.join("older")).await?;
            Ok(())
        },
        nothing,
    );
}

fn looking_around_leaves_nothing(ring: Ring) {
    at_every_await(
        ring,
        |dir| {
            for n in 0..20 {
                std::fs::write(dir.join(n.to_string()), "").unwrap();
            }
        },
        async |dir| {
            let mut entries = fs::read_dir(dir).await?;
            let mut count = 0;
            while let Some(entry) = entries.next_entry().await? {
                assert!(entry.metadata().await?.is_file());
                count += 1;
            }
            assert_eq!(count, 20);
            fs::symlink("0", dir.join("link")).await?;
            fs::hard_link(dir.join("0"), dir.join("hard")).await?;
            fs::canonicalize(dir.join("link")).await?;
            fs::read_link(dir.join("link")).await?;
            assert!(!fs::exists(dir.join("none")).await?);
            Ok(())
        },
        nothing,
    );
}

fn programs_leave_nothing(ring: Ring) {
    at_every_await(
        ring,
        nothing,
        async |dir| {
            let output = runtime::process::Command::new("cat")
                .current_dir(dir)
                .kill_on_drop(true)
                .output()
                .input(vec![7; 1000])
                .await?;
            assert_eq!(output.stdout.len(), 1000);
            let mut child = runtime::process::Command::new("cat")
                .kill_on_drop(true)
                .stdin(Stdio::piped())
                .spawn()?;
            drop(child.stdin.take());
            assert!(child.wait().await?.success());
            Ok(())
        },
        nothing,
    );
}

fn removing_a_tree_leaves_nothing_but_the_tree(ring: Ring) {
    at_every_await(
        ring,
        |dir| {
            std::fs::create_dir_all(dir.join("tree/a/b")).unwrap();
            std::fs::write(dir.join("tree/a/file"), "").unwrap();
            std::os::unix::fs::symlink(dir.join("kept"), dir.join("tree/link")).unwrap();
            std::fs::create_dir(dir.join("kept")).unwrap();
            std::fs::write(dir.join("kept/file"), "").unwrap();
        },
        async |dir| fs::remove_dir_all(dir.join("tree")).await,
        |dir| assert_eq!(names(&dir.join("kept")), ["file"]),
    );
}

fn replacing_a_file_leaves_the_old_or_the_new(ring: Ring) {
    at_every_await(
        ring,
        |dir| std::fs::write(dir.join("file"), "old").unwrap(),
        async |dir| fs::write_atomic(dir.join("file"), "new").await,
        |dir| {
            let content = std::fs::read(dir.join("file")).unwrap();
            assert!(content == b"old" || content == b"new");
            assert_eq!(names(dir), ["file"]);
        },
    );
}

fn temporary_files_leave_nothing(ring: Ring) {
    at_every_await(
        ring,
        nothing,
        async |dir| {
            let file = fs::TempFile::new_in(dir).await?;
            file.write_all("content").await.0?;
            drop(file.persist(dir.join("file")).await?);
            Ok(())
        },
        |dir| {
            if !names(dir).is_empty() {
                assert_eq!(names(dir), ["file"]);
                assert_eq!(std::fs::read(dir.join("file")).unwrap(), b"content");
            }
        },
    );
}
