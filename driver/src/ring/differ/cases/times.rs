//! Timeouts: those that count, repeat, are removed and changed; when times are read.

use std::time::Duration;

use io_uring::opcode;
use io_uring::types::{TimeoutFlags, Timespec};

use super::{NEVER, SOON, all, on_both, pipe, poll_of};

#[test]
fn a_timeout_ends_when_others_have_completed() {
    on_both(|tried| {
        let nop = || opcode::Nop::new().build();
        let counting = |count| opcode::Timeout::new(&NEVER).count(count).build();
        // What is handed over with it counts, whether before it or behind.
        tried.stage(1, nop());
        tried.stage(2, counting(3));
        tried.stage(3, nop());
        tried.until(2);
        assert!(tried.quiet() && !tried.has(2), "{:?}", tried.told);
        tried.stage(4, nop());
        tried.until(4);
        assert_eq!(tried.take(), [(1, 0), (2, 0), (3, 0), (4, 0)]);
        // What is before it in its chain does not; nor do timeouts that pass.
        tried.chain(1, &[nop(), counting(1)]);
        tried.stage(3, opcode::Timeout::new(&SOON).build());
        while !tried.has(3) {
            tried.look(Duration::from_secs(1));
        }
        assert!(tried.quiet() && !tried.has(2), "{:?}", tried.told);
        tried.stage(4, nop());
        tried.until(4);
        assert_eq!(tried.take(), [(1, 0), (2, 0), (3, -libc::ETIME), (4, 0)]);
        // One that has counted enough is no failure.
        tried.chain(1, &[counting(1), nop()]);
        tried.stage(3, nop());
        tried.until(3);
        assert_eq!(tried.take(), [(1, 0), (2, 0), (3, 0)]);
    });
}

#[test]
fn a_timeout_passes_as_often_as_it_says() {
    on_both(|tried| {
        let many = |time: &Timespec, times| {
            let timeout = opcode::Timeout::new(time).flags(TimeoutFlags::MULTISHOT);
            timeout.count(times).build()
        };
        tried.stage(1, many(&SOON, 3));
        tried.until(3);
        let passed = -libc::ETIME;
        assert_eq!(
            tried.told,
            [(1, passed, true), (1, passed, true), (1, passed, false)]
        );
        tried.take();
        tried.stage(1, many(&SOON, 0));
        tried.until(5);
        tried.stage(2, opcode::TimeoutRemove::new(1).build());
        while !tried
            .told
            .iter()
            .any(|(number, _, more)| *number == 1 && !more)
        {
            tried.look(Duration::from_secs(10));
        }
        tried.until(7);
        let told = tried.take();
        assert_eq!(told[told.len() - 2..], [(1, -libc::ECANCELED), (2, 0)]);
    });
}

#[test]
fn a_timeout_is_removed_or_given_another_time() {
    on_both(|tried| {
        let update = |number, time: &Timespec| opcode::TimeoutUpdate::new(number, time).build();
        let gone = -libc::ECANCELED;
        tried.stage(1, opcode::Timeout::new(&NEVER).build());
        tried.stage(2, opcode::TimeoutRemove::new(1).build());
        tried.stage(3, opcode::TimeoutRemove::new(1).build());
        tried.stage(4, update(1, &SOON));
        tried.until(4);
        let none = -libc::ENOENT;
        assert_eq!(tried.take(), [(1, gone), (2, 0), (3, none), (4, none)]);
        // It does not count any more, either.
        tried.stage(1, opcode::Timeout::new(&NEVER).count(2).build());
        tried.stage(2, update(1, &SOON));
        tried.until(2);
        assert_eq!(tried.take(), [(1, -libc::ETIME), (2, 0)]);
        // A deadline is found by its own number, and only if it is asked for.
        let (reader, _writer) = pipe();
        let limit = || opcode::LinkTimeout::new(&NEVER).build();
        tried.chain(1, &[poll_of(&reader), limit()]);
        tried.stage(3, update(2, &SOON));
        let limits = TimeoutFlags::LINK_TIMEOUT_UPDATE;
        tried.stage(
            4,
            opcode::TimeoutUpdate::new(2, &SOON).flags(limits).build(),
        );
        tried.until(4);
        assert_eq!(
            tried.take(),
            [(1, gone), (2, -libc::ETIME), (3, none), (4, 0)]
        );
    });
}

#[test]
fn what_is_wrong_with_a_timeout_is_told() {
    on_both(|tried| {
        let flags = |flags| opcode::Timeout::new(&SOON).flags(flags).build();
        let wrong = -libc::EINVAL;
        tried.stage(1, flags(TimeoutFlags::BOOTTIME | TimeoutFlags::REALTIME));
        tried.stage(2, flags(TimeoutFlags::ABS | TimeoutFlags::MULTISHOT));
        let negative = Timespec::new().sec(u64::MAX);
        tried.stage(3, opcode::Timeout::new(&raw const negative).build());
        tried.stage(
            4,
            opcode::TimeoutUpdate::new(9, &raw const negative).build(),
        );
        tried.until(4);
        assert_eq!(
            tried.take(),
            [(1, wrong), (2, wrong), (3, wrong), (4, wrong)]
        );
    });
}

#[test]
fn a_time_is_read_when_its_entry_is_handed_over() {
    on_both(|tried| {
        let (reader, _writer) = pipe();
        let mut times = Box::new([SOON, SOON, NEVER]);
        tried.stage(1, opcode::Timeout::new(&raw const times[0]).build());
        tried.chain(
            2,
            &[
                poll_of(&reader),
                opcode::LinkTimeout::new(&raw const times[1]).build(),
            ],
        );
        tried.stage(4, opcode::Timeout::new(&NEVER).build());
        tried.stage(
            5,
            opcode::TimeoutUpdate::new(4, &raw const times[2]).build(),
        );
        tried.look(Duration::ZERO);
        // By now it may be anything.
        *times = [NEVER, NEVER, SOON];
        drop(times);
        tried.until(4);
        tried.stage(6, all());
        tried.until(6);
        let (gone, passed) = (-libc::ECANCELED, -libc::ETIME);
        let told = [
            (1, passed),
            (2, gone),
            (3, passed),
            (4, gone),
            (5, 0),
            (6, 1),
        ];
        assert_eq!(tried.take(), told);
    });
}
