//! io_uring refused, as by a container's filter of system calls.

use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

/// Has the kernel answer `errno` to all that io_uring is: for this thread, and the threads and processes it starts.
pub fn refuse_rings(errno: i32) {
    let calls = [
        libc::SYS_io_uring_setup,
        libc::SYS_io_uring_enter,
        libc::SYS_io_uring_register,
    ];
    let filter = SeccompFilter::new(
        calls.map(|call| (call, Vec::new())).into(),
        SeccompAction::Allow,
        SeccompAction::Errno(errno.cast_unsigned()),
        std::env::consts::ARCH
            .try_into()
            .expect("a filter for this machine"),
    );
    let filter = BpfProgram::try_from(filter.unwrap()).unwrap();
    apply_filter(&filter).unwrap();
}
