//! Section B: what comes behind a receive that got less than it had room for. A ring that then waits without trying
//! must miss nothing.

use std::io::Write as _;
use std::net::{Shutdown, TcpListener, TcpStream};
use std::pin::pin;

use annulet_tests::{Ring, poll_now, spec, submitted, within_a_turn};
use runtime::{Fd, Op, op};
use rustix::io::{DupFlags, dup3};
use rustix::net::{SendFlags, send};

spec! {
    async b13_the_end_is_read_behind_a_short_receive;
    async b13_a_reset_is_told_behind_a_short_receive;
    async b_urgent_data_hides_nothing_behind_it;
    async b7_a_number_that_is_another_sockets_by_now_is_heard;
    async b_what_arrives_while_nobody_waits_is_there_for_who_comes;
    async b_what_is_ready_is_found_beside_operations_that_complete_at_once;
}

fn tcp_pair() -> (Fd, TcpStream) {
    let (ours, theirs) = std_pair();
    (Fd::new(ours.into()), theirs)
}

fn std_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (ours, _) = listener.accept().unwrap();
    theirs.set_nodelay(true).unwrap();
    (ours, theirs)
}

async fn receive(fd: &Fd) -> Vec<u8> {
    let (result, bytes) = Op::on(fd, op::Recv::new(vec![0; 64])).await;
    bytes[..result.unwrap()].to_vec()
}

/// Has a receive wait, does `then`, and says what it brought.
async fn waiting(fd: &Fd, then: impl FnOnce()) -> Vec<u8> {
    let mut receive = pin!(receive(fd));
    assert!(poll_now(&mut receive).await.is_pending());
    // One that is carried out as it is staged, and one more: then the ring has looked, too.
    submitted().await;
    submitted().await;
    assert!(poll_now(&mut receive).await.is_pending());
    then();
    receive.await
}

async fn b13_the_end_is_read_behind_a_short_receive(_: Ring) {
    // All before it is looked for; the end only when it is waited for.
    for at_once in [true, false] {
        let (ours, mut theirs) = tcp_pair();
        assert_eq!(
            waiting(&ours, || theirs.write_all(b"1").unwrap()).await,
            b"1"
        );
        let got = waiting(&ours, || {
            theirs.write_all(b"23").unwrap();
            if at_once {
                theirs.shutdown(Shutdown::Write).unwrap();
            }
        });
        assert_eq!(got.await, b"23");
        if at_once {
            assert_eq!(receive(&ours).await, b"");
        } else {
            let end = waiting(&ours, || theirs.shutdown(Shutdown::Write).unwrap());
            assert_eq!(end.await, b"");
        }
        assert_eq!(receive(&ours).await, b"");
    }
}

async fn b13_a_reset_is_told_behind_a_short_receive(_: Ring) {
    let (ours, mut theirs) = tcp_pair();
    // What it has not read resets the connection as it closes.
    Op::on(&ours, op::Send::new(vec![0; 8])).await.0.unwrap();
    assert_eq!(
        waiting(&ours, || theirs.write_all(b"1").unwrap()).await,
        b"1"
    );
    drop(theirs);
    let (result, _) = Op::on(&ours, op::Recv::new(vec![0; 64])).await;
    let error = result.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

async fn b_urgent_data_hides_nothing_behind_it(_: Ring) {
    let (ours, mut theirs) = tcp_pair();
    assert_eq!(
        waiting(&ours, || theirs.write_all(b"1").unwrap()).await,
        b"1"
    );
    let got = waiting(&ours, || {
        theirs.write_all(b"23").unwrap();
        send(&theirs, b"!", SendFlags::OOB).unwrap();
        theirs.write_all(b"45").unwrap();
    });
    // A receive ends where the urgent byte was, whatever is behind it.
    assert_eq!(got.await, b"23");
    assert_eq!(receive(&ours).await, b"45");
}

async fn b7_a_number_that_is_another_sockets_by_now_is_heard(_: Ring) {
    for waits in [true, false] {
        let (ours, mut theirs) = tcp_pair();
        assert_eq!(
            waiting(&ours, || theirs.write_all(b"1").unwrap()).await,
            b"1"
        );
        let (mut number, _) = ours.reclaim().await.unwrap();
        let (new, mut news) = std_pair();
        dup3(&new, &mut number, DupFlags::CLOEXEC).unwrap();
        let ours = Fd::new(number);
        let got = if waits {
            waiting(&ours, || news.write_all(b"2").unwrap()).await
        } else {
            news.write_all(b"2").unwrap();
            within_a_turn(Box::pin(receive(&ours))).await
        };
        assert_eq!(got, b"2");
    }
}

async fn b_what_arrives_while_nobody_waits_is_there_for_who_comes(_: Ring) {
    let (ours, mut theirs) = tcp_pair();
    assert_eq!(
        waiting(&ours, || theirs.write_all(b"1").unwrap()).await,
        b"1"
    );
    for _ in 0..40 {
        theirs.write_all(b"2").unwrap();
        submitted().await;
        submitted().await;
    }
    // So many small segments wait for acknowledgements, and come in parts.
    let mut got = Vec::new();
    while got.len() < 40 {
        got.extend(receive(&ours).await);
    }
    assert_eq!(got, [b'2'; 40]);
    assert_eq!(
        waiting(&ours, || theirs.write_all(b"3").unwrap()).await,
        b"3"
    );
    assert_eq!(
        waiting(&ours, || theirs.write_all(b"4").unwrap()).await,
        b"4"
    );
}

async fn b_what_is_ready_is_found_beside_operations_that_complete_at_once(_: Ring) {
    let (ours, mut theirs) = tcp_pair();
    let mut receive = pin!(receive(&ours));
    assert!(poll_now(&mut receive).await.is_pending());
    submitted().await;
    theirs.write_all(b"1").unwrap();
    submitted().await;
    submitted().await;
    assert!(poll_now(&mut receive).await.is_ready());
}
