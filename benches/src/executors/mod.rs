//! The runtimes, a file each, with what their makers recommend for one thread.

mod annulet;
#[cfg(feature = "peers")]
pub mod compio;
#[cfg(feature = "peers")]
mod glommio;
#[cfg(feature = "peers")]
pub mod monoio;
mod tokio;

pub use self::annulet::Annulet;
#[cfg(feature = "peers")]
pub use self::compio::Compio;
#[cfg(feature = "peers")]
pub use self::glommio::Glommio;
#[cfg(feature = "peers")]
pub use self::monoio::Monoio;
pub use self::tokio::Tokio;

/// What there is to yield by where a runtime offers nothing of its own.
#[cfg(feature = "peers")]
async fn wake_oneself() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if yielded {
            return std::task::Poll::Ready(());
        }
        yielded = true;
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    })
    .await;
}
