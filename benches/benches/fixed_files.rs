//! What does it give to register files and buffers with the ring? Blocks of 4 KiB are read at random offsets of one file,
//! so many at a time: through a ring by hand, with each combination of the two, and through the runtime; from memory
//! (`pread(2)` is beside it) and, with `O_DIRECT`, from the disk.
//!
//! `cargo bench -p annulet-benches --bench fixed_files -- [--rounds N] [--reads N] [--only NAME] [--dir DIR]`
//!
//! Not criterion's, as it is the ratios that count: the contenders take turns, so that whatever else the machine does hits
//! all of them, and ratios are taken within a round.
#![allow(unsafe_code, reason = "the ring by hand takes entries unchecked")]

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use annulet_benches::cores;
use io_uring::{IoUring, opcode, squeue, types};
use lexopt::{Arg, Parser, ValueExt};
use runtime::Builder;
use runtime::buf::{AlignedBuf, Arena, IoBufMut};
use rustix::time::{ClockId, clock_gettime};

const BLOCK: usize = 4096;
const BLOCKS: u64 = 16 * 1024;
const DEPTHS: [usize; 3] = [1, 32, 128];

/// What is read, and how.
struct World {
    path: PathBuf,
    file: File,
    direct: bool,
    depth: usize,
    reads: usize,
}

/// Reads so many blocks and says what CPU time that has cost.
type Contender = fn(&World) -> io::Result<Duration>;

const CONTENDERS: [(&str, Contender); 11] = [
    ("by hand", |world| by_hand(world, false, false)),
    ("by hand, fixed file", |world| by_hand(world, true, false)),
    ("by hand, fixed buffer", |world| by_hand(world, false, true)),
    ("by hand, both", |world| by_hand(world, true, true)),
    ("pread(2)", by_pread),
    ("annulet", |world| ours(world, &Builder::new())),
    ("annulet, no attempts", |world| {
        ours(world, &Builder::new().attempts(false))
    }),
    ("annulet, fixed buffer", |world| {
        by_arena(world, &Builder::new())
    }),
    ("annulet, fixed file", by_file),
    ("annulet, buffer not fixed", |world| {
        by_arena(world, &Builder::new().fixed_buffers(false))
    }),
    ("annulet, read_many", by_read_many),
];
/// The one that the ratios are to.
const PLAIN: &str = "by hand";

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// Offsets of blocks, the same for all.
struct Offsets(u64);

impl Offsets {
    fn new(seed: usize) -> Offsets {
        Offsets(88_172_645_463_325_252 ^ (seed as u64) << 32)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % BLOCKS) * BLOCK as u64
    }
}

fn whole(read: usize) -> io::Result<()> {
    if read == BLOCK {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// A ring as the runtime sets it up.
fn ring() -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_taskrun_flag();
    builder.setup_submit_all().setup_no_sqarray();
    builder.build(256)
}

fn by_hand(world: &World, fixed_file: bool, fixed_buffer: bool) -> io::Result<Duration> {
    let mut memory: Vec<_> = (0..world.depth)
        .map(|_| AlignedBuf::<BLOCK>::zeroed(BLOCK))
        .collect();
    let mut ring = ring()?;
    if fixed_file {
        ring.submitter().register_files(&[world.file.as_raw_fd()])?;
    }
    if fixed_buffer {
        let vectors = memory.iter_mut().map(|buf| libc::iovec {
            iov_base: buf.as_mut_ptr().cast(),
            iov_len: BLOCK,
        });
        let vectors: Vec<_> = vectors.collect();
        // SAFETY: the memory is dropped after the ring's last completion, which is awaited.
        unsafe { ring.submitter().register_buffers(&vectors) }?;
    }
    let mut offsets = Offsets::new(0);
    let fd = types::Fd(world.file.as_raw_fd());
    let mut entry = |at: usize| -> squeue::Entry {
        let (to, len, offset) = (memory[at].as_mut_ptr(), BLOCK as u32, offsets.next());
        let entry = match (fixed_file, fixed_buffer) {
            (false, false) => opcode::Read::new(fd, to, len).offset(offset).build(),
            (true, false) => opcode::Read::new(types::Fixed(0), to, len)
                .offset(offset)
                .build(),
            (false, true) => opcode::ReadFixed::new(fd, to, len, at as u16)
                .offset(offset)
                .build(),
            (true, true) => opcode::ReadFixed::new(types::Fixed(0), to, len, at as u16)
                .offset(offset)
                .build(),
        };
        entry.user_data(at as u64)
    };
    let (mut submitter, mut queue, mut completions) = ring.split();
    submitter.register_ring_fd()?;
    let mut push = |queue: &mut squeue::SubmissionQueue<'_>, at| {
        // SAFETY: the memory is there until the ring's last completion, and nobody else touches it.
        unsafe { queue.push(&entry(at)) }.map_err(io::Error::other)
    };
    let start = cpu();
    (0..world.depth).try_for_each(|at| push(&mut queue, at))?;
    let (mut begun, mut done) = (world.depth, 0);
    while done < world.reads {
        queue.sync();
        submitter.submit_and_wait(1)?;
        queue.sync();
        // One enter runs no more than a helping of what a disk has completed.
        while queue.taskrun() {
            submitter.submit()?;
            queue.sync();
        }
        completions.sync();
        for completion in completions.by_ref() {
            whole(completion.result() as usize)?;
            done += 1;
            if begun < world.reads {
                begun += 1;
                push(&mut queue, completion.user_data() as usize)?;
            }
        }
    }
    let cost = cpu() - start;
    submitter.unregister_ring_fd()?;
    Ok(cost)
}

/// One after another, whatever the depth.
fn by_pread(world: &World) -> io::Result<Duration> {
    let mut buf = AlignedBuf::<BLOCK>::zeroed(BLOCK);
    let mut offsets = Offsets::new(0);
    let start = cpu();
    for _ in 0..world.reads {
        whole(world.file.read_at(&mut buf, offsets.next())?)?;
    }
    Ok(cpu() - start)
}

fn ours(world: &World, builder: &Builder) -> io::Result<Duration> {
    builder.build()?.block_on(async {
        let file = open(world).await?;
        by_tasks(world, file, || {
            Some(AlignedBuf::<BLOCK>::with_capacity(BLOCK))
        })
        .await
    })
}

fn by_arena(world: &World, builder: &Builder) -> io::Result<Duration> {
    builder.build()?.block_on(async {
        let arena = Arena::new(world.depth, BLOCK);
        by_tasks(world, open(world).await?, || arena.buffer()).await
    })
}

fn by_file(world: &World) -> io::Result<Duration> {
    runtime::Runtime::new()?.block_on(async {
        let file = open(world).await?;
        file.register()?;
        by_tasks(world, file, || {
            Some(AlignedBuf::<BLOCK>::with_capacity(BLOCK))
        })
        .await
    })
}

async fn open(world: &World) -> io::Result<runtime::fs::File> {
    let mut options = runtime::fs::OpenOptions::new();
    options
        .read(true)
        .direct(world.direct)
        .open(&world.path)
        .await
}

/// A task for each that is to be in flight at a time.
async fn by_tasks<B: IoBufMut>(
    world: &World,
    file: runtime::fs::File,
    buffer: impl Fn() -> Option<B>,
) -> io::Result<Duration> {
    let file = Rc::new(file);
    let start = cpu();
    let tasks: Vec<_> = (0..world.depth)
        .zip(std::iter::from_fn(buffer))
        .map(|(at, buf)| {
            let reads = (world.reads + at) / world.depth;
            runtime::spawn(read_blocks(file.clone(), buf, Offsets::new(at), reads))
        })
        .collect();
    for task in tasks {
        task.await.map_err(io::Error::other)??;
    }
    Ok(cpu() - start)
}

/// One task, which takes the blocks in order.
fn by_read_many(world: &World) -> io::Result<Duration> {
    runtime::Runtime::new()?.block_on(async {
        let file = open(world).await?;
        let arena = Arena::new(world.depth, BLOCK);
        let mut offsets = Offsets::new(0);
        let start = cpu();
        let offsets = std::iter::repeat_with(|| offsets.next()).take(world.reads);
        let mut blocks = file.read_many(offsets, std::iter::from_fn(|| arena.buffer()));
        while let Some(block) = blocks.next().await {
            whole(block?.len())?;
        }
        Ok(cpu() - start)
    })
}

async fn read_blocks<B: IoBufMut>(
    file: Rc<runtime::fs::File>,
    mut buf: B,
    mut offsets: Offsets,
    reads: usize,
) -> io::Result<()> {
    for _ in 0..reads {
        let read;
        (read, buf) = file.read_at(buf, offsets.next()).await;
        whole(read?)?;
    }
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (mut rounds, mut reads) = (7_usize, 50_000_usize);
    let (mut only, mut dir) = (String::new(), PathBuf::from("."));
    let mut args = Parser::from_env();
    while let Some(arg) = args.next()? {
        match arg {
            Arg::Long("rounds") => rounds = args.value()?.parse()?,
            Arg::Long("reads") => reads = args.value()?.parse()?,
            // Beside the one that ratios are to.
            Arg::Long("only") => only = args.value()?.string()?,
            // Where the file is made: on a disk, for what `O_DIRECT` is to tell.
            Arg::Long("dir") => dir = args.value()?.into(),
            // What `cargo bench` adds.
            Arg::Long("bench") => {}
            other => return Err(other.unexpected().into()),
        }
    }
    if rounds == 0 || reads < 10 {
        return Err("there has to be at least one round of ten reads".into());
    }
    cores::pin(cores::two()?.map(|(one, _)| one))?;
    let path = dir.join(format!("fixed-files-{}", std::process::id()));
    let made = Removed(path.clone());
    make_file(&path)?;
    println!(
        "4 KiB at random offsets of {} MiB; CPU time a read, median of {rounds} rounds of {reads} reads (a tenth from the disk)",
        (BLOCKS * BLOCK as u64) >> 20
    );
    for direct in [false, true] {
        let flags = if direct { libc::O_DIRECT } else { 0 };
        for depth in DEPTHS {
            let opened = OpenOptions::new()
                .read(true)
                .custom_flags(flags)
                .open(&path);
            let file = match opened {
                Ok(file) => file,
                Err(error) => {
                    println!("\nno O_DIRECT in {}: {error}", dir.display());
                    break;
                }
            };
            let reads = if direct { reads / 10 } else { reads };
            let world = World {
                path: path.clone(),
                file,
                direct,
                depth,
                reads,
            };
            compare(&world, rounds, &only)?;
        }
    }
    drop(made);
    Ok(())
}

/// A file that goes in the end.
struct Removed(PathBuf);

impl Drop for Removed {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// On the disk, and in memory.
fn make_file(path: &Path) -> io::Result<()> {
    let mut file = File::create_new(path)?;
    let block = [7; BLOCK];
    (0..BLOCKS).try_for_each(|_| file.write_all(&block))?;
    file.sync_all()
}

fn compare(world: &World, rounds: usize, only: &str) -> io::Result<()> {
    let chosen: Vec<_> = CONTENDERS
        .into_iter()
        .filter(|(name, _)| *name == PLAIN || name.contains(only))
        .collect();
    let mut costs = vec![Vec::new(); chosen.len()];
    for (_, run) in &chosen {
        let warm = World {
            path: world.path.clone(),
            file: world.file.try_clone()?,
            reads: world.reads / 10,
            ..*world
        };
        run(&warm)?;
    }
    for round in 0..rounds {
        for turn in 0..chosen.len() {
            // Nobody comes always after the same one.
            let at = (round + turn) % chosen.len();
            let cost_ns = chosen[at].1(world)?.as_nanos() as f64 / world.reads as f64;
            costs[at].push(cost_ns);
        }
    }
    let from = if world.direct { "disk" } else { "memory" };
    println!("\nfrom {from}, {} at a time", world.depth);
    let plain = costs[0].clone();
    for ((name, _), of) in chosen.iter().zip(&costs) {
        let (_, middle, _) = spread(of.iter().copied());
        let (least, ratio, most) = spread(of.iter().zip(&plain).map(|(a, b)| a / b));
        println!("  {name:<24} {middle:>7.0} ns   {ratio:.3} ({least:.3} to {most:.3})");
    }
    Ok(())
}

/// The least, the middle and the most.
fn spread(figures: impl Iterator<Item = f64>) -> (f64, f64, f64) {
    let mut figures: Vec<f64> = figures.collect();
    figures.sort_by(f64::total_cmp);
    let last = figures.len() - 1;
    (figures[0], figures[figures.len() / 2], figures[last])
}
