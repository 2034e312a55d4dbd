//! The standard library as oracle: the same random sequence of file operations through Annulet and through `std::fs`,
//! on twin files. Results, kinds of errors, cursors and final bytes are the same.
//!
//! Reads and writes without room or bytes are left out: here they are refused (SPEC I5), there they do nothing.

use std::fs;
use std::io::{self, ErrorKind, IoSlice, IoSliceMut, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use annulet_tests::{Ring, poll_now, spec, submitted};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use runtime::fs::{File, OpenOptions};

use crate::Dir;

spec! {
    files_behave_as_those_of_std;
    reads_dropped_in_between_change_nothing;
}

/// How a file is opened: read, write, append, truncate, create, create_new.
type Opening = [bool; 6];

#[derive(Clone, Debug)]
enum Step {
    Open(Opening),
    Clone,
    ThroughStd,
    Read(usize),
    ReadExact(usize),
    ReadVectored(Vec<usize>),
    ReadToEnd(usize),
    ReadToString,
    Write(Vec<u8>),
    WriteAll(Vec<u8>),
    WriteVectored(Vec<Vec<u8>>),
    ReadAt(usize, u64),
    ReadExactAt(usize, u64),
    ReadVectoredAt(Vec<usize>, u64),
    WriteAt(Vec<u8>, u64),
    WriteAllAt(Vec<u8>, u64),
    WriteVectoredAt(Vec<Vec<u8>>, u64),
    Seek(SeekFrom),
    SetLen(u64),
    SyncAll,
    SyncData,
    Len,
    /// Ours alone: begun, polled so many times, and dropped.
    Dropped(Dropped, usize),
}

#[derive(Clone, Debug)]
enum Dropped {
    Read(usize),
    ReadExact(usize),
    ReadVectored(Vec<usize>),
    ReadToEnd,
    /// A read in flight, and a write and a seek behind it.
    Queue(usize),
}

/// What a step came to: a number and bytes, or the kind of its error.
type Outcome = Result<(u64, Vec<u8>), ErrorKind>;

fn nothing(result: io::Result<()>) -> Outcome {
    number(result.map(|()| 0))
}

fn number(result: io::Result<u64>) -> Outcome {
    result
        .map(|number| (number, Vec::new()))
        .map_err(|error| error.kind())
}

fn bytes(result: io::Result<usize>, mut buf: Vec<u8>) -> Outcome {
    result.map_err(|error| error.kind()).map(|n| {
        buf.truncate(n);
        (n as u64, buf)
    })
}

fn rooms(lens: &[usize]) -> Vec<Vec<u8>> {
    lens.iter().map(|len| vec![0; *len]).collect()
}

/// The file under test.
async fn ours(file: &mut File, path: &Path, step: &Step) -> Outcome {
    match step.clone() {
        Step::Open([read, write, append, truncate, create, create_new]) => {
            let mut options = OpenOptions::new();
            options.read(read).write(write).append(append);
            options
                .truncate(truncate)
                .create(create)
                .create_new(create_new);
            nothing(options.open(path).await.map(|opened| *file = opened))
        }
        Step::Clone => nothing(file.try_clone().map(|clone| *file = clone)),
        Step::ThroughStd => {
            let placeholder = File::open("/dev/null").await.unwrap();
            let std = std::mem::replace(file, placeholder).into_std().await;
            nothing(File::from_std(std.unwrap()).map(|back| *file = back))
        }
        Step::Read(len) => {
            let (result, buf) = file.read(Vec::with_capacity(len)).await;
            bytes(result, buf)
        }
        Step::ReadExact(len) => {
            let (result, buf) = file.read_exact(vec![0; len]).await;
            bytes(result.map(|()| len), buf)
        }
        Step::ReadVectored(lens) => {
            let (result, bufs) = file.read_vectored(rooms(&lens)).await;
            bytes(result, bufs.concat())
        }
        Step::ReadToEnd(before) => {
            let (result, buf) = file.read_to_end(vec![7; before]).await;
            bytes(result.map(|n| n + before), buf)
        }
        Step::ReadToString => {
            let (result, text) = file.read_to_string("so far: ".into()).await;
            bytes(result.map(|n| n + 8), text.into_bytes())
        }
        Step::Write(buf) => number(file.write(buf).await.0.map(|n| n as u64)),
        Step::WriteAll(buf) => nothing(file.write_all(buf).await.0),
        Step::WriteVectored(bufs) => number(file.write_vectored(bufs).await.0.map(|n| n as u64)),
        Step::ReadAt(len, offset) => {
            let (result, buf) = file.read_at(Vec::with_capacity(len), offset).await;
            bytes(result, buf)
        }
        Step::ReadExactAt(len, offset) => {
            let (result, buf) = file.read_exact_at(vec![0; len], offset).await;
            bytes(result.map(|()| len), buf)
        }
        Step::ReadVectoredAt(lens, offset) => {
            let (result, bufs) = file.read_vectored_at(rooms(&lens), offset).await;
            bytes(result, bufs.concat())
        }
        Step::WriteAt(buf, offset) => number(file.write_at(buf, offset).await.0.map(|n| n as u64)),
        Step::WriteAllAt(buf, offset) => nothing(file.write_all_at(buf, offset).await.0),
        Step::WriteVectoredAt(bufs, offset) => {
            let result = file.write_vectored_at(bufs, offset).await.0;
            number(result.map(|n| n as u64))
        }
        Step::Seek(to) => number(file.seek(to).await),
        Step::SetLen(len) => nothing(file.set_len(len).await),
        Step::SyncAll => nothing(file.sync_all().await),
        Step::SyncData => nothing(file.sync_data().await),
        Step::Len => number(file.metadata().await.map(|metadata| metadata.len())),
        Step::Dropped(..) => unreachable!("not compared"),
    }
}

/// Begins a read and drops it. What had been done all the same by then, as its last poll told.
async fn dropped(file: &File, what: &Dropped, polls: usize) -> Option<Step> {
    let (finished, step) = match what.clone() {
        Dropped::Read(len) => (
            begun(file.read(vec![0; len]), polls.min(1)).await,
            Step::Read(len),
        ),
        Dropped::ReadExact(len) => (
            begun(file.read_exact(vec![0; len]), polls).await,
            Step::ReadExact(len),
        ),
        Dropped::ReadVectored(lens) => (
            begun(file.read_vectored(rooms(&lens)), polls.min(1)).await,
            Step::ReadVectored(lens),
        ),
        Dropped::ReadToEnd => (
            begun(Box::pin(file.read_to_end(Vec::new())), polls).await,
            Step::ReadToEnd(0),
        ),
        Dropped::Queue(len) => {
            let mut read = file.read(vec![0; len]);
            let mut write = file.write_all(vec![b'x'; len]);
            let mut seek = file.seek(SeekFrom::Start(3));
            assert!(poll_now(&mut read).await.is_pending());
            // Both wait for the read, which is dropped last.
            assert!(poll_now(&mut write).await.is_pending());
            assert!(poll_now(&mut seek).await.is_pending());
            drop((seek, write));
            (false, Step::Len)
        }
    };
    finished.then_some(step)
}

/// Polls so many times, each time after the kernel had what there was to have; 0: once, and it has not.
async fn begun<F: Future + Unpin>(mut future: F, polls: usize) -> bool {
    let mut finished = poll_now(&mut future).await.is_ready();
    for poll in 1..=polls {
        submitted().await;
        finished = finished || (poll < polls && poll_now(&mut future).await.is_ready());
    }
    finished
}

/// The same, by the standard library.
fn theirs(file: &mut fs::File, path: &Path, step: &Step) -> Outcome {
    match step.clone() {
        Step::Open([read, write, append, truncate, create, create_new]) => {
            let mut options = fs::OpenOptions::new();
            options.read(read).write(write).append(append);
            options
                .truncate(truncate)
                .create(create)
                .create_new(create_new);
            nothing(options.open(path).map(|opened| *file = opened))
        }
        Step::Clone => nothing(file.try_clone().map(|clone| *file = clone)),
        Step::ThroughStd | Step::Dropped(..) => Ok((0, Vec::new())),
        Step::Read(len) => {
            let mut buf = vec![0; len];
            bytes(file.read(&mut buf), buf)
        }
        Step::ReadExact(len) => {
            let mut buf = vec![0; len];
            bytes(file.read_exact(&mut buf).map(|()| len), buf)
        }
        Step::ReadVectored(lens) => {
            let mut bufs = rooms(&lens);
            let mut slices: Vec<_> = bufs.iter_mut().map(|buf| IoSliceMut::new(buf)).collect();
            let result = file.read_vectored(&mut slices);
            bytes(result, bufs.concat())
        }
        Step::ReadToEnd(before) => {
            let mut buf = vec![7; before];
            bytes(file.read_to_end(&mut buf).map(|n| n + before), buf)
        }
        Step::ReadToString => {
            let mut text = String::from("so far: ");
            bytes(
                file.read_to_string(&mut text).map(|n| n + 8),
                text.into_bytes(),
            )
        }
        Step::Write(buf) => number(file.write(&buf).map(|n| n as u64)),
        Step::WriteAll(buf) => nothing(file.write_all(&buf)),
        Step::WriteVectored(bufs) => {
            let slices: Vec<_> = bufs.iter().map(|buf| IoSlice::new(buf)).collect();
            number(file.write_vectored(&slices).map(|n| n as u64))
        }
        Step::ReadAt(len, offset) => {
            let mut buf = vec![0; len];
            bytes(file.read_at(&mut buf, offset), buf)
        }
        Step::ReadExactAt(len, offset) => {
            let mut buf = vec![0; len];
            bytes(file.read_exact_at(&mut buf, offset).map(|()| len), buf)
        }
        Step::ReadVectoredAt(lens, offset) => {
            let mut bufs = rooms(&lens);
            let mut slices: Vec<_> = bufs.iter_mut().map(|buf| IoSliceMut::new(buf)).collect();
            let result = rustix::io::preadv(&*file, &mut slices, offset);
            bytes(result.map_err(io::Error::from), bufs.concat())
        }
        Step::WriteAt(buf, offset) => number(file.write_at(&buf, offset).map(|n| n as u64)),
        Step::WriteAllAt(buf, offset) => nothing(file.write_all_at(&buf, offset)),
        Step::WriteVectoredAt(bufs, offset) => {
            let slices: Vec<_> = bufs.iter().map(|buf| IoSlice::new(buf)).collect();
            let result = rustix::io::pwritev(&*file, &slices, offset);
            number(result.map(|n| n as u64).map_err(io::Error::from))
        }
        Step::Seek(to) => number(file.seek(to)),
        Step::SetLen(len) => nothing(file.set_len(len)),
        Step::SyncAll => nothing(file.sync_all()),
        Step::SyncData => nothing(file.sync_data()),
        Step::Len => number(file.metadata().map(|metadata| metadata.len())),
    }
}

/// Goes through the steps with both, and compares.
async fn compare(steps: &[Step]) -> Result<(), TestCaseError> {
    let dir = Dir::new();
    let content: Vec<u8> = (0..5000u32).map(|n| (n % 251) as u8).collect();
    let (our_path, their_path) = (dir.with("ours", &content), dir.with("theirs", &content));
    let mut our_file = File::options()
        .read(true)
        .write(true)
        .open(&our_path)
        .await
        .unwrap();
    let mut their_file = fs::File::options()
        .read(true)
        .write(true)
        .open(&their_path)
        .unwrap();
    for (at, step) in steps.iter().enumerate() {
        if let Step::Dropped(what, polls) = step {
            if let Some(done) = dropped(&our_file, what, *polls).await {
                let _ = theirs(&mut their_file, &their_path, &done);
            }
        } else {
            let our_outcome = ours(&mut our_file, &our_path, step).await;
            let their_outcome = theirs(&mut their_file, &their_path, step);
            prop_assert_eq!(our_outcome, their_outcome, "step {}: {:?}", at, step);
        }
        // A look at the cursor now and then; else it might set right what was wrong.
        if at % 4 == 3 {
            let our_cursor = our_file.stream_position().await.unwrap();
            let their_cursor = their_file.stream_position().unwrap();
            prop_assert_eq!(our_cursor, their_cursor, "after step {}: {:?}", at, step);
        }
    }
    our_file.close().await.unwrap();
    prop_assert!(
        fs::read(&our_path).unwrap() == fs::read(&their_path).unwrap(),
        "in the end the files differ"
    );
    Ok(())
}

fn opening() -> impl Strategy<Value = Opening> {
    let any = any::<Opening>().boxed();
    // Mostly one that goes on.
    let both = Just([true, true, false, false, false, false]).boxed();
    let append = Just([true, false, true, false, true, false]).boxed();
    prop_oneof![2 => any, 2 => both, 1 => append]
}

fn len() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 1..100usize, 2 => 100..10_000usize, 1 => 10_000..100_000usize]
}

fn lens() -> impl Strategy<Value = Vec<usize>> {
    let some = prop::collection::vec(0..3000usize, 1..12);
    some.prop_filter("there is some room", |lens| lens.iter().sum::<usize>() > 0)
}

fn content() -> impl Strategy<Value = Vec<u8>> {
    // Text now and then, so that there is some to be read.
    let text = len().prop_map(|len| (0..len).map(|n| b'a' + (n % 26) as u8).collect());
    let noise = (len(), any::<u8>());
    let noise = noise.prop_map(|(len, seed)| (0..len).map(|n| (n as u8) ^ seed).collect());
    prop_oneof![text, noise]
}

fn contents() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let part = prop::collection::vec(any::<u8>(), 0..2000);
    let some = prop::collection::vec(part, 1..12);
    some.prop_filter("there is something", |bufs| {
        bufs.iter().any(|buf| !buf.is_empty())
    })
}

fn offset() -> impl Strategy<Value = u64> {
    prop_oneof![8 => 0..12_000u64, 1 => 0..300_000u64]
}

fn seek() -> impl Strategy<Value = SeekFrom> {
    prop_oneof![
        4 => offset().prop_map(SeekFrom::Start),
        2 => (-6000..3000i64).prop_map(SeekFrom::Current),
        2 => (-12_000..3000i64).prop_map(SeekFrom::End),
        1 => prop_oneof![Just(u64::MAX), Just(1 << 63)].prop_map(SeekFrom::Start),
        1 => any::<i64>().prop_filter("no hole of exabytes", |by| *by < 0).prop_map(SeekFrom::End),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let reading = prop_oneof![
        4 => len().prop_map(Step::Read),
        2 => len().prop_map(Step::ReadExact),
        2 => lens().prop_map(Step::ReadVectored),
        1 => (0..100usize).prop_map(Step::ReadToEnd),
        1 => Just(Step::ReadToString),
        2 => (len(), offset()).prop_map(|(len, at)| Step::ReadAt(len, at)),
        1 => (len(), offset()).prop_map(|(len, at)| Step::ReadExactAt(len, at)),
        1 => (lens(), offset()).prop_map(|(lens, at)| Step::ReadVectoredAt(lens, at)),
    ];
    let writing = prop_oneof![
        3 => content().prop_map(Step::Write),
        2 => content().prop_map(Step::WriteAll),
        2 => contents().prop_map(Step::WriteVectored),
        1 => (content(), offset()).prop_map(|(buf, at)| Step::WriteAt(buf, at)),
        1 => (content(), offset()).prop_map(|(buf, at)| Step::WriteAllAt(buf, at)),
        1 => (contents(), offset()).prop_map(|(bufs, at)| Step::WriteVectoredAt(bufs, at)),
    ];
    let other = prop_oneof![
        6 => seek().prop_map(Step::Seek),
        3 => opening().prop_map(Step::Open),
        3 => offset().prop_map(Step::SetLen),
        1 => Just(Step::SetLen(1 << 63)),
        2 => Just(Step::Len),
        1 => Just(Step::Clone),
        1 => Just(Step::ThroughStd),
        1 => Just(Step::SyncAll),
        1 => Just(Step::SyncData),
    ];
    prop_oneof![4 => reading, 3 => writing, 3 => other]
}

fn dropping() -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        3 => len().prop_map(Dropped::Read),
        2 => len().prop_map(Dropped::ReadExact),
        1 => lens().prop_map(Dropped::ReadVectored),
        1 => Just(Dropped::ReadToEnd),
        1 => len().prop_map(Dropped::Queue),
    ];
    (what, 0..4usize).prop_map(|(what, polls)| Step::Dropped(what, polls))
}

fn compare_many(ring: Ring, step: impl Strategy<Value = Step>) {
    let config = Config {
        // As many as `PROPTEST_CASES` says, an eighth of its 256 by default: there are three rings.
        cases: Config::default().cases / 8,
        failure_persistence: None,
        ..Config::default()
    };
    let runtime = ring.runtime();
    let steps = prop::collection::vec(step, 1..60);
    let result = TestRunner::new(config).run(&steps, |steps| runtime.block_on(compare(&steps)));
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

fn files_behave_as_those_of_std(ring: Ring) {
    compare_many(ring, step());
}

fn reads_dropped_in_between_change_nothing(ring: Ring) {
    compare_many(ring, prop_oneof![3 => step(), 2 => dropping()]);
}
