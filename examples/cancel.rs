//! What happens to an operation that is cut short: closed, cancelled, timed out, or dropped.
//!
//! ```sh
//! cargo run --release --example cancel
//! ```
//!
//! It needs no second terminal: both ends of each connection are here. Read it beside what it prints.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::future::or;
use runtime::net::{TcpListener, TcpStream};
use runtime::time::sleep;
use runtime::{CancelToken, Partial, is_cancelled, yield_now};

#[runtime::main]
async fn main() -> io::Result<()> {
    closing_ends_a_blocked_accept().await?;
    closing_ends_a_blocked_read().await?;
    a_token_ends_several_operations().await?;
    a_deadline_ends_a_read_and_tells_how_far_it_got().await?;
    a_dropped_read_loses_nothing().await
}

async fn closing_ends_a_blocked_accept() -> io::Result<()> {
    println!("1. A listener is closed while a task waits in accept.");
    let listener = Rc::new(TcpListener::bind("127.0.0.1:0").await?);
    let accept = runtime::spawn({
        let listener = listener.clone();
        async move { listener.accept().await.map(drop) }
    });
    in_flight().await;

    listener.close().await?;
    // The accept has ended by now, and only then was the descriptor closed.
    println!(
        "   close has returned, the task is finished: {}",
        accept.is_finished()
    );
    println!("   its accept gave: {}", outcome(&accept.await?));
    println!(
        "   another accept gives: {}",
        outcome(&listener.accept().await.map(drop))
    );
    Ok(())
}

async fn closing_ends_a_blocked_read() -> io::Result<()> {
    println!("2. A stream is closed while a task waits in read.");
    let (here, there) = connection().await?;
    let here = Rc::new(here);
    let read = runtime::spawn({
        let here = here.clone();
        async move { here.read(Vec::with_capacity(16)).await }
    });
    in_flight().await;

    here.close().await?;
    let (result, buf) = read.await?;
    println!(
        "   its read gave: {}, and its buffer of {} bytes back",
        outcome(&result),
        buf.capacity()
    );
    let (result, _) = there.read([0; 16]).await;
    println!("   the peer reads: {}", outcome(&result));
    Ok(())
}

async fn a_token_ends_several_operations() -> io::Result<()> {
    println!(
        "3. One token is given to an accept and three reads; one of them gets its bytes first."
    );
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let token = CancelToken::new();
    let accept = runtime::spawn({
        let token = token.clone();
        async move { listener.accept().cancel_with(&token).await.map(|_| 0) }
    });
    let mut reads = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..3 {
        let (here, there) = connection().await?;
        let token = token.clone();
        reads.push(runtime::spawn(async move {
            here.read([0; 16]).cancel_with(&token).await.0
        }));
        peers.push(there);
    }
    in_flight().await;
    peers[1].write_all("in time").await.0?;
    println!("   read 2 gave: {}", outcome(&reads.remove(1).await?));

    let report = token.cancel().await;
    println!(
        "   the token tells: {} cancelled, {} completed after all",
        report.cancelled, report.completed
    );
    println!("   accept gave: {}", outcome(&accept.await?));
    for (read, number) in reads.into_iter().zip([1, 3]) {
        println!("   read {number} gave: {}", outcome(&read.await?));
    }
    let late = peers[0].read([0; 16]).cancel_with(&token).await.0;
    println!(
        "   one that begins with the token now gives: {}",
        outcome(&late)
    );
    Ok(())
}

async fn a_deadline_ends_a_read_and_tells_how_far_it_got() -> io::Result<()> {
    println!("4. Reads with a deadline of 50 ms.");
    let (here, there) = connection().await?;
    let limit = Duration::from_millis(50);
    let (result, _) = here.read([0; 16]).timeout(limit).await;
    println!("   a read of a silent peer gave: {}", outcome(&result));

    there.write_all("half a").await.0?;
    let (result, buf) = here.read_exact([0; 16]).timeout(limit).await;
    println!("   a read_exact of 16 bytes gave: {}", outcome(&result));
    if let Err(error) = result {
        let part = &buf[..Partial::of(&error)];
        println!(
            "   what had come is in its buffer: {:?}",
            String::from_utf8_lossy(part)
        );
    }
    there.write_all("nd goes on").await.0?;
    let (result, buf) = here.read([0; 16]).await;
    println!(
        "   the connection goes on: {:?}",
        String::from_utf8_lossy(&buf[..result?])
    );
    Ok(())
}

async fn a_dropped_read_loses_nothing() -> io::Result<()> {
    println!("5. A read competes with a timer again and again, and is dropped when it loses.");
    let (here, there) = connection().await?;
    let sent: Vec<u8> = (0..=255).cycle().take(1000).collect();
    let writing = runtime::spawn({
        let sent = sent.clone();
        async move {
            for part in sent.chunks(10) {
                sleep(Duration::from_micros(300)).await;
                there.write_all(part.to_vec()).await.0?;
            }
            io::Result::Ok(())
        }
    });

    let (mut received, mut dropped) = (Vec::new(), 0);
    loop {
        let read = async { Some(here.read(Vec::with_capacity(64)).await) };
        let timer = async {
            sleep(Duration::from_micros(100)).await;
            None
        };
        match or(read, timer).await {
            // The buffer of a dropped read is gone; what arrives in it is kept for the next read.
            None => dropped += 1,
            Some((Ok(0), _)) => break,
            Some((result, part)) => {
                result?;
                received.extend(part);
            }
        }
    }
    writing.await??;
    println!(
        "   reads were dropped half-way: {}",
        if dropped > 0 { "many" } else { "none" }
    );
    println!(
        "   {} of {} bytes arrived, in order: {}",
        received.len(),
        sent.len(),
        received == sent
    );
    Ok(())
}

/// Two ends of a connection.
async fn connection() -> io::Result<(TcpStream, TcpStream)> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let here = TcpStream::connect(listener.local_addr()?).await?;
    let (there, _) = listener.accept().await?;
    Ok((here, there))
}

/// Lets the tasks that were just spawned run until each waits for its operation.
async fn in_flight() {
    yield_now().await;
}

fn outcome<T: std::fmt::Debug>(result: &io::Result<T>) -> String {
    match result {
        Ok(value) => format!("{value:?}"),
        Err(error) if is_cancelled(error) => format!("cancelled ({error})"),
        Err(error) => format!("{:?} ({error})", error.kind()),
    }
}
