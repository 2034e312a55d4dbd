//! Section I: refusals, each a clear error naming what to do. Here the kernel's ring is insisted on; what comes of
//! leaving the choice alone is in `i_choice.rs`.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::fs::File;
use std::future::Future;
use std::io::{self, ErrorKind};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;
use std::time::Duration;

use annulet_tests::{
    Ring, driver, fds, metrics, pipe, poll_once, refuse_rings, skip, socket_pair, spec, submitted,
};
use runtime::buf::IoBufExt;
use runtime::net::{TcpListener, TcpSocket, TcpStream, UnixListener, UnixStream};
use runtime::{Fd, Handle, Op, Runtime, chain, fs, is_cancelled, op};
use rustix::io_uring::IoringOp;
use rustix::process::{Resource, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

spec! {
    alone i1_a_forbidden_ring_says_who_forbids_it on kernel, plain, tiny;
    alone i1_a_kernel_without_rings_says_which_has_them on kernel, plain, tiny;
    alone i1_a_ring_beyond_the_memory_limit_names_the_limit on kernel, plain, tiny;
    alone i1_a_ring_without_descriptors_names_the_limit_and_leaves_nothing on kernel, plain, tiny;
    i1_a_ring_too_large_says_how_large_it_may_be on kernel, plain, tiny;
    i2_socket_bind_and_listen_fall_back_to_system_calls;
    i2_what_has_no_fallback_names_its_opcode_and_the_kernel_that_has_it;
    i2_operations_on_paths_name_what_is_missing;
    i2_in_a_chain_a_missing_opcode_refuses_the_whole_chain;
    i2_a_files_length_is_set_on_the_pool_without_its_opcode;
    i3_outside_a_runtime_a_panic_says_which_call_and_what_to_write;
    i3_the_try_forms_say_so_without_a_panic;
    i4_a_nested_block_on_says_so_and_the_outer_goes_on;
    async i5_buffers_without_room_or_bytes_are_refused_before_any_io;
    async i5_offsets_beyond_i64_are_refused_before_any_io;
    async i5_names_with_nul_are_refused_before_any_io;
    async i5_paths_with_nul_are_refused_by_every_function_that_takes_one;
    async i5_times_of_zero_and_missing_addresses_are_refused_before_any_io;
}

/// Why no ring can be built where `io_uring_setup(2)` answers `errno`: on a thread of its own, whose filter goes with it.
fn refused(ring: Ring, errno: i32) -> io::Error {
    thread::spawn(move || {
        refuse_rings(errno);
        let before = fds();
        let error = ring.builder().build().unwrap_err();
        assert_eq!(fds(), before);
        error
    })
    .join()
    .unwrap()
}

pub(crate) fn assert_says(error: &impl ToString, words: &[&str]) {
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "no `{word}` in: {message}");
    }
}

fn i1_a_forbidden_ring_says_who_forbids_it(ring: Ring) {
    let error = refused(ring, libc::EPERM);
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    assert_says(
        &error,
        &["kernel.io_uring_disabled", "seccomp", "io_uring_setup"],
    );
    // Only there: this thread is as it was.
    ring.runtime().block_on(submitted());
}

fn i1_a_kernel_without_rings_says_which_has_them(ring: Ring) {
    let error = refused(ring, libc::ENOSYS);
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_says(&error, &["Linux 5.19", "CONFIG_IO_URING"]);
}

fn i1_a_ring_beyond_the_memory_limit_names_the_limit(ring: Ring) {
    let mut limit = getrlimit(Resource::Memlock);
    limit.current = Some(0);
    setrlimit(Resource::Memlock, limit).unwrap();
    let built = thread::spawn(move || {
        // The limit is not for those who may lock memory: this thread gives that up.
        let mut sets = capabilities(None).unwrap();
        sets.effective -= CapabilitySet::IPC_LOCK;
        set_capabilities(None, sets).unwrap();
        let before = fds();
        let built = ring.builder().build().err();
        assert_eq!(fds(), before);
        built
    });
    let Some(error) = built.join().unwrap() else {
        return skip("this kernel does not count a ring's memory against RLIMIT_MEMLOCK");
    };
    assert_eq!(error.kind(), ErrorKind::OutOfMemory);
    assert_says(&error, &["RLIMIT_MEMLOCK", "ulimit -l", "fewer entries"]);
}

fn i1_a_ring_without_descriptors_names_the_limit_and_leaves_nothing(ring: Ring) {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = Some(fds().len() as u64 + 16);
    setrlimit(Resource::Nofile, limit).unwrap();
    let mut hoard = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        hoard.push(file);
    }
    let mut refusals = 0;
    loop {
        // A runtime takes several; each may be the one that is missing.
        match ring.builder().build() {
            Ok(_) => break,
            Err(error) => {
                assert_eq!(
                    error.kind(),
                    io::Error::from_raw_os_error(libc::EMFILE).kind()
                );
                assert_says(&error, &["RLIMIT_NOFILE", "ulimit -n"]);
            }
        }
        refusals += 1;
        drop(hoard.pop().expect("ten are enough"));
        // As many are free as were given up, and no fewer.
        let free: Vec<_> = (0..refusals).map(|_| File::open("/dev/null")).collect();
        assert!(free.iter().all(io::Result::is_ok));
        File::open("/dev/null").unwrap_err();
    }
    assert!((1..10).contains(&refusals), "{refusals}");
}

fn i1_a_ring_too_large_says_how_large_it_may_be(ring: Ring) {
    for entries in [32_769, 1 << 31, u32::MAX] {
        let error = ring.builder().entries(entries).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_says(&error, &["32768"]);
    }
    for completions in [65_537, 1 << 31, u32::MAX] {
        let error = ring.builder().completions(completions).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
        assert_says(&error, &["65536"]);
    }
    let error = ring.builder().thread_name("a\0b").build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_says(&error, &["NUL"]);
}

fn without(ring: Ring, opcodes: &[IoringOp]) -> Runtime {
    let opcodes: Vec<u8> = opcodes.iter().map(|opcode| *opcode as u8).collect();
    let runtime = ring.builder().without(opcodes.clone()).build().unwrap();
    for opcode in opcodes {
        assert!(!runtime.driver().supports(opcode));
    }
    runtime
}

fn i2_socket_bind_and_listen_fall_back_to_system_calls(ring: Ring) {
    let all = [IoringOp::Socket, IoringOp::Bind, IoringOp::Listen];
    for missing in [&all[..], &all[..1], &all[1..2], &all[2..]] {
        without(ring, missing).block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap());
            let client = client.await.unwrap();
            let (server, peer) = listener.accept().await.unwrap();
            assert_eq!(peer, client.local_addr().unwrap());
            client.write_all(b"hello").await.0.unwrap();
            server.read_exact([0; 5]).await.0.unwrap();
            // Errors, too, are those of the call; and what is closed stays so.
            let taken = TcpSocket::new_v4().await.unwrap();
            let error = taken.bind(listener.local_addr().unwrap()).await;
            assert_eq!(error.unwrap_err().kind(), ErrorKind::AddrInUse);
            let closed = Fd::new(std::os::unix::net::UnixDatagram::unbound().unwrap().into());
            closed.close().await.unwrap();
            let error = Op::on(&closed, op::Listen::new(1)).await.unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBADF));
        });
    }
    // Nothing of it went to the ring.
    without(ring, &all).block_on(async {
        let before = metrics().staged;
        let socket = TcpSocket::new_v4().await.unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
        let listener = socket.listen(1).await.unwrap();
        assert_eq!(metrics().staged, before);
        drop(listener);
    });
}

fn assert_unsupported<T: Debug>(result: io::Result<T>, opcode: &str, linux: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    assert_says(&error, &[opcode, linux]);
}

fn i2_what_has_no_fallback_names_its_opcode_and_the_kernel_that_has_it(ring: Ring) {
    let missing = [
        IoringOp::Nop,
        IoringOp::Recv,
        IoringOp::Send,
        IoringOp::Read,
        IoringOp::Accept,
        IoringOp::Connect,
        IoringOp::Openat,
        IoringOp::Statx,
        IoringOp::Fsync,
        IoringOp::Ftruncate,
    ];
    without(ring, &missing).block_on(async {
        let (ours, _theirs) = socket_pair();
        let before = metrics();
        assert_unsupported(Op::new(op::Nop::new()).await, "IORING_OP_NOP", "Linux 5.1");
        let (got, buf) = Op::on(&ours, op::Recv::new(vec![7; 8])).await;
        assert_unsupported(got, "IORING_OP_RECV", "Linux 5.6");
        assert_eq!(buf, [7; 8], "the buffer comes back");
        let (sent, _) = Op::on(&ours, op::SendAll::new([0; 8])).await;
        assert_unsupported(sent, "IORING_OP_SEND", "Linux 5.6");
        let (read, _) = Op::on(&ours, op::Read::at([0; 8], 0)).await;
        assert_unsupported(read, "IORING_OP_READ", "Linux 5.6");
        let accepted = Op::on(&ours, op::Accept::new()).await;
        assert_unsupported(accepted, "IORING_OP_ACCEPT", "Linux 5.5");
        let open = op::OpenAt::new(Path::new("/"), libc::O_RDONLY, 0).unwrap();
        assert_unsupported(Op::new(open).await, "IORING_OP_OPENAT", "Linux 5.6");
        let status = op::Statx::path(Path::new("/"), 0).unwrap();
        assert_unsupported(
            Op::new(status).await.map(drop),
            "IORING_OP_STATX",
            "Linux 5.6",
        );
        let synced = Op::on(&ours, op::Fsync::all()).await;
        assert_unsupported(synced, "IORING_OP_FSYNC", "Linux 5.1");
        let cut = Op::on(&ours, op::Ftruncate::new(0)).await;
        assert_unsupported(cut, "IORING_OP_FTRUNCATE", "Linux 6.9");
        let after = metrics();
        assert_eq!((after.staged, after.live), (before.staged, 0));
        // A missing accept is missing from the stream of connections, too, and that does not spin.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let incoming = listener.incoming().next().await.unwrap();
        assert_unsupported(incoming, "IORING_OP_ACCEPT", "Linux 5.");
        let connected = TcpStream::connect(listener.local_addr().unwrap()).await;
        assert_unsupported(connected, "IORING_OP_CONNECT", "Linux 5.5");
    });
}

fn i2_operations_on_paths_name_what_is_missing(ring: Ring) {
    let missing = [
        IoringOp::Renameat,
        IoringOp::Unlinkat,
        IoringOp::Mkdirat,
        IoringOp::Symlinkat,
        IoringOp::Linkat,
        IoringOp::Getxattr,
        IoringOp::Setxattr,
        IoringOp::Fgetxattr,
        IoringOp::Fsetxattr,
    ];
    without(ring, &missing).block_on(async {
        let (ours, _theirs) = socket_pair();
        let before = metrics().staged;
        let (path, name) = (Path::new("no-such"), OsStr::new("user.name"));
        let renamed = Op::new(op::RenameAt::new(path, path, 0).unwrap()).await;
        assert_unsupported(renamed, "IORING_OP_RENAMEAT", "Linux 5.11");
        let removed = Op::new(op::UnlinkAt::new(path, 0).unwrap()).await;
        assert_unsupported(removed, "IORING_OP_UNLINKAT", "Linux 5.11");
        let made = Op::new(op::MkdirAt::new(path, 0o777).unwrap()).await;
        assert_unsupported(made, "IORING_OP_MKDIRAT", "Linux 5.15");
        let pointed = Op::new(op::SymlinkAt::new(path, path).unwrap()).await;
        assert_unsupported(pointed, "IORING_OP_SYMLINKAT", "Linux 5.15");
        let linked = Op::new(op::LinkAt::new(path, path, 0).unwrap()).await;
        assert_unsupported(linked, "IORING_OP_LINKAT", "Linux 5.15");
        let (got, buf) = Op::new(op::GetXattr::new(path, name, [7; 1]).unwrap()).await;
        assert_unsupported(got, "IORING_OP_GETXATTR", "Linux 5.19");
        assert_eq!(buf, [7; 1], "the buffer comes back");
        let (set, _) = Op::new(op::SetXattr::new(path, name, [7; 1], 0).unwrap()).await;
        assert_unsupported(set, "IORING_OP_SETXATTR", "Linux 5.19");
        let (got, _) = Op::on(&ours, op::FgetXattr::new(name, [7; 1]).unwrap()).await;
        assert_unsupported(got, "IORING_OP_FGETXATTR", "Linux 5.19");
        let (set, _) = Op::on(&ours, op::FsetXattr::new(name, [7; 1], 0).unwrap()).await;
        assert_unsupported(set, "IORING_OP_FSETXATTR", "Linux 5.19");
        assert_eq!(metrics().staged, before);
    });
}

fn i2_a_files_length_is_set_on_the_pool_without_its_opcode(ring: Ring) {
    without(ring, &[IoringOp::Ftruncate]).block_on(async {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let path = dir.path().join("file");
        let file = fs::File::create(&path).await.unwrap();
        file.set_len(10).await.unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), [0; 10]);
        // Errors are those of the call.
        let reader = fs::File::from_std(File::open(&path).unwrap()).unwrap();
        let error = reader.set_len(1).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput);
    });
}

fn i2_in_a_chain_a_missing_opcode_refuses_the_whole_chain(ring: Ring) {
    without(ring, &[IoringOp::Socket, IoringOp::Fsync]).block_on(async {
        let (ours, _theirs) = socket_pair();
        let before = metrics().staged;
        let linked = chain((
            Op::on(&ours, op::Send::new([1; 8])),
            Op::on(&ours, op::Fsync::all()),
            Op::new(op::Nop::new()),
        ));
        let (sent, synced, nop) = linked.await;
        assert_unsupported(synced, "IORING_OP_FSYNC", "Linux 5.1");
        assert!(is_cancelled(&sent.0.unwrap_err()));
        assert!(is_cancelled(&nop.unwrap_err()));
        // No system call can take a place in a chain.
        let socket = op::Socket::new(libc::AF_UNIX, libc::SOCK_STREAM, 0);
        let (nop, socket) = chain((Op::new(op::Nop::new()), Op::new(socket))).await;
        assert_unsupported(socket, "IORING_OP_SOCKET", "Linux 5.19");
        assert!(is_cancelled(&nop.unwrap_err()));
        assert_eq!(metrics().staged, before);
    });
}

/// What `f` says when it panics.
fn panic_of<T>(f: impl FnOnce() -> T) -> String {
    let payload = match catch_unwind(AssertUnwindSafe(f)) {
        Ok(_) => panic!("there was no panic"),
        Err(payload) => payload,
    };
    match payload.downcast::<String>() {
        Ok(message) => *message,
        Err(payload) => (*payload.downcast::<&str>().expect("a message")).to_owned(),
    }
}

fn poll_panic<F: Future>(future: F) -> String {
    panic_of(|| poll_once(&mut Box::pin(future)).is_ready())
}

fn i3_outside_a_runtime_a_panic_says_which_call_and_what_to_write(ring: Ring) {
    let assert_all_panic = || {
        let inside = "Runtime::block_on";
        let spawned = panic_of(|| runtime::spawn(async {}));
        assert_says(&spawned, &["`spawn`", inside, "`Handle`"]);
        assert_says(&panic_of(Handle::current), &["Handle::current", inside]);
        let (fd, _) = socket_pair();
        let recv = poll_panic(Op::on(&fd, op::Recv::new([0; 8])));
        assert_says(&recv, &["IORING_OP_RECV", inside]);
        let linked = chain((Op::new(op::Nop::new()), Op::new(op::Nop::new())));
        assert_says(&poll_panic(linked), &["chain", inside]);
        let bind = poll_panic(TcpListener::bind("127.0.0.1:0"));
        assert_says(&bind, &["IORING_OP_SOCKET", inside]);
        let sleep = poll_panic(runtime::time::sleep(Duration::from_secs(1)));
        assert_says(&sleep, &["`Sleep`", inside]);
    };
    assert_all_panic();
    // Nor does a runtime help that is not running, or that has run.
    let runtime = ring.runtime();
    assert_all_panic();
    runtime.block_on(submitted());
    assert_all_panic();
    drop(runtime);
    assert_all_panic();
    // Closing needs none.
    let (ours, theirs) = socket_pair();
    let mut closing = ours.close();
    assert!(poll_once(&mut closing).is_ready());
    // Waits: the fork by which another test starts its process holds a copy for a moment.
    let end = rustix::net::recv(&theirs, &mut [0; 8], rustix::net::RecvFlags::empty());
    assert_eq!(end.unwrap().0, 0);
}

fn i3_the_try_forms_say_so_without_a_panic(ring: Ring) {
    let future = runtime::try_spawn(async { 7 }).unwrap_err();
    assert!(Handle::try_current().is_none());
    assert!(runtime::Driver::try_current().is_none());
    // It was given back, and is as good as new.
    let seven = ring.runtime().block_on(async {
        assert!(Handle::try_current().is_some());
        assert!(runtime::Driver::try_current().is_some());
        match runtime::try_spawn(future) {
            Ok(task) => task.await.unwrap(),
            Err(_) => panic!("this is inside"),
        }
    });
    assert_eq!(seven, 7);
    assert!(runtime::Driver::try_current().is_none());
}

fn i4_a_nested_block_on_says_so_and_the_outer_goes_on(ring: Ring) {
    let runtime = ring.runtime();
    let says = ["block_on", "already", "await"];
    runtime.block_on(async {
        // The same runtime, another, and one of its own.
        assert_says(&panic_of(|| runtime.block_on(async {})), &says);
        let other = ring.runtime();
        assert_says(&panic_of(|| other.block_on(async {})), &says);
        assert_says(&panic_of(|| runtime::block_on(async {})), &says);
        drop(other);
        let task = runtime::spawn(async move {
            let nested = ring.runtime();
            let message = panic_of(|| nested.block_on(async {}));
            submitted().await;
            message
        });
        assert_says(&task.await.unwrap(), &says);
        let (ours, theirs) = socket_pair();
        assert_eq!(Op::on(&ours, op::Send::new([1; 3])).await.0.unwrap(), 3);
        assert_eq!(Op::on(&theirs, op::Recv::new([0; 8])).await.0.unwrap(), 3);
        assert!(driver().metrics().in_flight == 0);
    });
    // On a thread of its own it is none, and afterwards neither.
    runtime.block_on(async {
        let elsewhere = thread::spawn(move || ring.runtime().block_on(async { 7 }));
        assert_eq!(elsewhere.join().unwrap(), 7);
    });
    ring.runtime().block_on(submitted());
}

fn invalid<T: Debug>(result: io::Result<T>) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    // Said by us, in words: the kernel's own word is a number.
    assert_eq!(error.raw_os_error(), None, "{error}");
}

async fn i5_buffers_without_room_or_bytes_are_refused_before_any_io(_: Ring) {
    let (ours, _theirs) = socket_pair();
    let (reader, writer) = pipe();
    let before = metrics().staged;
    let none = Vec::<u8>::new;
    invalid(Op::on(&ours, op::Recv::new(none())).await.0);
    invalid(Op::on(&ours, op::Recv::new([0; 0])).await.0);
    invalid(Op::on(&reader, op::Read::new(none())).await.0);
    invalid(Op::on(&reader, op::Read::at(none(), 0)).await.0);
    invalid(Op::on(&reader, op::Readv::new([none(), none()])).await.0);
    invalid(
        Op::on(&reader, op::Readv::new(Vec::<Vec<u8>>::new()))
            .await
            .0,
    );
    invalid(Op::on(&ours, op::Send::new(none())).await.0);
    invalid(Op::on(&ours, op::Send::new("")).await.0);
    invalid(Op::on(&writer, op::Write::new(none())).await.0);
    invalid(Op::on(&writer, op::Write::at("", 0)).await.0);
    invalid(Op::on(&writer, op::Writev::new(("", none()))).await.0);
    invalid(Op::on(&ours, op::Recv::new(vec![0; 8].slice(8..))).await.0);
    // One with a deadline, and one in a chain.
    let hour = Duration::from_secs(3600);
    invalid(Op::on(&ours, op::Recv::new(none())).timeout(hour).await.0);
    let (nop, recv) = chain((
        Op::new(op::Nop::new()),
        Op::on(&ours, op::Recv::new(none())),
    ))
    .await;
    invalid(recv.0);
    assert!(is_cancelled(&nop.unwrap_err()));
    // What wants all of nothing has it.
    Op::on(&ours, op::SendAll::new("")).await.0.unwrap();
    Op::on(&ours, op::RecvExact::new(none())).await.0.unwrap();
    let after = metrics();
    assert_eq!((after.staged, after.live), (before, 0));
}

async fn i5_offsets_beyond_i64_are_refused_before_any_io(_: Ring) {
    let file = Fd::new(File::open("/dev/zero").unwrap().into());
    let before = metrics().staged;
    // The last is the kernel's word for "at the descriptor's own position".
    for offset in [1 << 63, u64::MAX - 1, u64::MAX] {
        invalid(Op::on(&file, op::Read::at([0; 8], offset)).await.0);
        invalid(Op::on(&file, op::Write::at([0; 8], offset)).await.0);
        invalid(Op::on(&file, op::Readv::at([[0; 8]], offset)).await.0);
        invalid(Op::on(&file, op::Writev::at([[0; 8]], offset)).await.0);
        invalid(Op::on(&file, op::ReadExact::at([0; 8], offset)).await.0);
        invalid(Op::on(&file, op::WriteAll::at([0; 8], offset)).await.0);
        invalid(Op::on(&file, op::Ftruncate::new(offset)).await);
        invalid(Op::on(&file, op::Fallocate::new(0, offset, 1)).await);
        invalid(Op::on(&file, op::Fadvise::new(0, offset, 1)).await);
        invalid(Op::on(&file, op::SyncFileRange::new(0, offset, 1)).await);
    }
    assert_eq!(metrics().staged, before);
}

async fn i5_names_with_nul_are_refused_before_any_io(_: Ring) {
    let before = metrics().staged;
    let path = Path::new("/tmp/a\0b");
    invalid(op::OpenAt::new(path, 0, 0));
    invalid(op::OpenAt2::new(path, 0, 0, 0));
    invalid(op::Statx::path(path, 0));
    let error = TcpStream::connect(("a\0b", 1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    let error = TcpListener::bind("a\0b:1").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert_eq!(metrics().staged, before);
}

async fn i5_paths_with_nul_are_refused_by_every_function_that_takes_one(_: Ring) {
    fn refused<T>(result: io::Result<T>) {
        let error = result.err().expect("it has a NUL byte in it");
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    }
    let (bad, good) = (Path::new("/tmp/a\0b"), Path::new("/tmp/annulet-i5"));
    let before = metrics().staged;
    refused(fs::File::open(bad).await);
    refused(fs::File::create(bad).await);
    refused(fs::read(bad).await);
    refused(fs::write(bad, "x").await);
    refused(fs::copy(bad, good).await);
    refused(fs::metadata(bad).await);
    refused(fs::symlink_metadata(bad).await);
    refused(fs::exists(bad).await);
    refused(fs::rename(bad, good).await);
    refused(fs::rename(good, bad).await);
    refused(fs::hard_link(bad, good).await);
    refused(fs::hard_link(good, bad).await);
    refused(fs::symlink(bad, good).await);
    refused(fs::symlink(good, bad).await);
    refused(fs::read_link(bad).await);
    refused(fs::canonicalize(bad).await);
    refused(fs::create_dir(bad).await);
    refused(fs::create_dir_all(bad).await);
    refused(fs::remove_dir(bad).await);
    refused(fs::remove_dir_all(bad).await);
    refused(fs::remove_file(bad).await);
    refused(fs::read_dir(bad).await);
    refused(fs::Dir::open(bad).await);
    refused(fs::TempFile::new_in(bad).await);
    refused(UnixListener::bind(bad).await);
    refused(UnixStream::connect(bad).await);
    assert_eq!(metrics().staged, before);
    assert!(!good.exists());
}

async fn i5_times_of_zero_and_missing_addresses_are_refused_before_any_io(_: Ring) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let stream = TcpStream::connect(addr).await.unwrap();
    let before = metrics().staged;
    invalid(stream.set_read_timeout(Some(Duration::ZERO)));
    invalid(stream.set_write_timeout(Some(Duration::ZERO)));
    invalid(TcpStream::connect_timeout(addr, Duration::ZERO).await);
    invalid(TcpStream::connect(&[][..]).await);
    invalid(TcpListener::bind(&[][..]).await);
    assert_eq!(metrics().staged, before);
}
