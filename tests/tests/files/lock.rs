//! Locks, and what becomes of one that nobody waits for any more.

use std::sync::Arc;

use annulet_tests::{Ring, poll_now, spec, until};
use runtime::fs::{File, TryLockError};

use crate::Dir;

spec! {
    async a_lock_excludes_and_a_shared_one_shares;
    async a_lock_comes_when_it_is_let_go;
    async a_lock_that_is_not_awaited_any_more_is_not_held;
}

fn would_block(result: Result<(), TryLockError>) -> bool {
    matches!(result, Err(TryLockError::WouldBlock))
}

async fn a_lock_excludes_and_a_shared_one_shares(_: Ring) {
    let dir = Dir::new();
    let path = dir.with("file", "");
    let (one, two) = (
        File::open(&path).await.unwrap(),
        File::open(&path).await.unwrap(),
    );
    one.lock().await.unwrap();
    assert!(would_block(two.try_lock().await));
    assert!(would_block(two.try_lock_shared().await));
    one.unlock().await.unwrap();
    one.lock_shared().await.unwrap();
    two.try_lock_shared().await.unwrap();
    assert!(would_block(two.try_lock().await));
    two.unlock().await.unwrap();
    // The last handle's closing lets go.
    one.close().await.unwrap();
    two.try_lock().await.unwrap();
    // The standard library's locks are the same.
    let std = std::fs::File::open(&path).unwrap();
    assert!(would_block(std.try_lock()));
}

async fn a_lock_comes_when_it_is_let_go(_: Ring) {
    let dir = Dir::new();
    let path = dir.with("file", "");
    let (one, two) = (
        File::open(&path).await.unwrap(),
        File::open(&path).await.unwrap(),
    );
    one.lock().await.unwrap();
    let mut waiting = Box::pin(two.lock());
    assert!(poll_now(&mut waiting).await.is_pending());
    one.unlock().await.unwrap();
    waiting.await.unwrap();
    assert!(would_block(one.try_lock().await));
}

async fn a_lock_that_is_not_awaited_any_more_is_not_held(_: Ring) {
    let dir = Dir::new();
    let path = dir.with("file", "");
    let one = File::open(&path).await.unwrap();
    let two = Arc::new(File::open(&path).await.unwrap());
    for polls in 0..4 {
        one.lock().await.unwrap();
        let mut waiting = Box::pin(two.lock());
        for _ in 0..polls {
            assert!(poll_now(&mut waiting).await.is_pending());
            runtime::yield_now().await;
        }
        drop(waiting);
        one.unlock().await.unwrap();
        // It may come still, and is let go then: in the end the lock is to be had.
        loop {
            match one.try_lock().await {
                Ok(()) => break,
                Err(TryLockError::WouldBlock) => runtime::yield_now().await,
                Err(TryLockError::Error(error)) => panic!("{error}"),
            }
        }
        one.unlock().await.unwrap();
    }
    // It has come, and nobody has looked. Another file: those given up above may come and go still.
    let path = dir.with("another", "");
    let two = Arc::new(File::open(&path).await.unwrap());
    for _ in 0..20 {
        let mut waiting = Box::pin(two.lock());
        if poll_now(&mut waiting).await.is_ready() {
            two.unlock().await.unwrap();
            continue;
        }
        let other = std::fs::File::open(&path).unwrap();
        until(|| match other.try_lock() {
            Ok(()) => {
                other.unlock().unwrap();
                false
            }
            Err(_) => true,
        })
        .await;
        drop(waiting);
        until(|| other.try_lock().is_ok()).await;
        other.unlock().unwrap();
    }
}
