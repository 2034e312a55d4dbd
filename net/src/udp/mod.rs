//! UDP (`udp(7)`).
//!
//! | file | what lives there |
//! | --- | --- |
//! | `socket` | [`UdpSocket`]: making it, sending and receiving |
//! | `segments` | many datagrams in one call: segmentation offload and its opposite; [`Batch`] |
//! | `options`, `convert` | its settings; from and to `std` |

mod convert;
mod options;
mod segments;
mod socket;
#[cfg(test)]
mod tests;

pub use self::segments::Batch;
pub use self::socket::UdpSocket;
