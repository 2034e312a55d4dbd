//! The attribute macros of the Annulet runtime: `#[runtime::main]` and `#[runtime::test]`.
//!
//! Users meet them through the facade (`runtime::main`, `runtime::test`) and never name this crate.
//!
//! Here live the two entry points and their manual. What is read and what is written out is next
//! door: `options` reads what stands in the parentheses, `function` reads the `async fn` and says
//! what is wrong with it, `expand` writes the function that takes its place.

#![forbid(unsafe_code)]

mod expand;
mod function;
mod options;

use proc_macro::TokenStream;

use expand::{Entry, expand};

/// Makes an `async fn` the program's `main`: builds a runtime and blocks on the body.
///
/// ```
/// #[runtime::main(entries = 1024)]
/// async fn main() -> std::io::Result<()> {
///     println!("on the ring");
///     Ok(())
/// }
/// ```
///
/// does what this does:
///
/// ```
/// fn main() -> std::io::Result<()> {
///     async fn main() -> std::io::Result<()> {
///         println!("on the ring");
///         Ok(())
///     }
///
///     match runtime::Builder::new().entries(1024).build() {
///         Ok(runtime) => runtime.block_on(main()),
///         Err(error) => panic!("cannot build the Annulet runtime: {error}"),
///     }
/// }
/// ```
///
/// The body is kept as it was written, in a function of its own, so `?`, `return` and type errors
/// behave as in any other `async fn`. Attributes, documentation, visibility and return type go to
/// the outer function. The name does not have to be `main`: any `async fn` without arguments
/// becomes a blocking one.
///
/// # Options
///
/// Each is written `name = expression`, at most once, in any order. All but `crate` call the
/// method of the same name on `runtime::Builder`, whose documentation tells more; an option left
/// out leaves the builder's default in force.
///
/// | option | type | what it sets | left out |
/// | --- | --- | --- | --- |
/// | `entries` | `u32`, a count | size of the submission queue | 256 |
/// | `completions` | `u32`, a count | size of the completion queue | 4096 |
/// | `budget` | `u32`, a count of polls | how many tasks one turn may poll before it looks at timers and completions | 256 |
/// | `timer_slack` | `std::time::Duration` | how late a timer may be so that others are fired by the same wake | 50 us |
/// | `sqpoll` | `std::time::Duration` | a kernel thread picks up submissions, and sleeps after being idle for this long | no such thread |
/// | `attempts` | `bool` | tries what has not waited lately by a plain call before the ring | `true` |
/// | `chunk_size` | `usize`, bytes | size of the runtime's own buffers | 16,384 |
/// | `chunk_limit` | `usize`, a count | how many of these are kept for reuse | 4096 |
/// | `provided_buffers` | `bool` | lets the kernel pick these buffers as data arrives | `true` |
/// | `incremental` | `bool` | has the kernel fill a buffer by several receives | `false` |
/// | `zero_copy` | `Option<usize>`, bytes | from which size on sockets send without a copy | `None`, they copy |
/// | `fixed_buffers` | `bool` | lets memory be registered with the ring | `true` |
/// | `fixed_files` | `bool` | lets files be registered with the ring | `true` |
/// | `shutdown_timeout` | `std::time::Duration` | how long the end waits for the kernel to let go | 10 s |
/// | `thread_name` | a string | name of the runtime's thread | left as it is |
/// | `embedded` | `bool` | gives the runtime a descriptor that another loop can wait for | `false` |
/// | `plain` | `bool` | leaves out what is newer than Linux 5.19 | `false` |
/// | `without` | opcodes, `[u8; _]` for one | treats these as missing from the kernel | none |
/// | `driver` | `"auto"`, `"kernel"`, `"poll"`, or a `runtime::DriverKind` | which ring to run on | `"auto"` |
/// | `crate` | a path, without quotes | where the facade is found, if it was renamed | `::runtime` |
///
/// ```
/// use std::time::Duration;
///
/// const ENTRIES: u32 = 256;
///
/// #[runtime::main(entries = ENTRIES, sqpoll = Duration::from_millis(50))]
/// async fn main() {}
/// ```
///
/// ```
/// #[runtime::main(driver = "poll")]
/// async fn main() {
///     let driver = runtime::Driver::try_current().unwrap();
///     assert_eq!(driver.kind(), runtime::DriverKind::Poll);
/// }
/// ```
///
/// With `rt = { package = "annulet", .. }` in `Cargo.toml`:
///
/// ```text
/// #[rt::main(crate = rt)]
/// async fn main() {}
/// ```
///
/// # Errors
///
/// What the body returns, `main` returns: an `Err` is printed by the standard library and ends the
/// process with code 1.
///
/// At compile time the macro refuses, at the token that is wrong and with what to write instead: a
/// function that is not `async`; arguments, `self` or generic parameters, for which nothing could
/// choose a value; `unsafe`, `const` and `extern` functions; an option that is unknown, given twice
/// or without a value; anything that is not a function.
///
/// # Cancel safety
///
/// The body runs to its end or until it panics; nothing drops it half-way. When it has ended, the
/// runtime is dropped, and with it the tasks that still run: await their handles if they matter.
///
/// # Panics
///
/// The function panics with `cannot build the Annulet runtime:` and the cause if the runtime cannot
/// be built. A program that wants to go on without one calls `runtime::Builder` itself. A panic of
/// the body goes on in the caller.
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(Entry::Main, options.into(), item.into()).into()
}

/// Makes an `async fn` a test: builds a runtime of its own for it and blocks on the body.
///
/// ```
/// #[runtime::test]
/// async fn a_port_is_chosen_for_port_zero() -> std::io::Result<()> {
///     let listener = runtime::net::TcpListener::bind("127.0.0.1:0").await?;
///     assert_ne!(listener.local_addr()?.port(), 0);
///     Ok(())
/// }
/// ```
///
/// It adds `#[test]` itself and takes what `#[test]` takes: `#[should_panic]`, `#[ignore]`, and a
/// body that returns a `Result`.
///
/// ```
/// #[runtime::test(entries = 8)]
/// #[should_panic(expected = "a claim that fails")]
/// async fn claims() {
///     panic!("a claim that fails");
/// }
/// ```
///
/// # Options
///
/// Those of [`main`](macro@main), with the same meaning.
///
/// # Errors
///
/// The test fails if the body returns an `Err`. At compile time the macro refuses what
/// [`main`](macro@main) refuses, and a second `#[test]`, with which the test would run twice.
///
/// # Cancel safety
///
/// As for [`main`](macro@main): tasks that still run when the body ends are dropped with the runtime.
///
/// # Panics
///
/// A panic of the body fails the test, as does a runtime that cannot be built: the message then
/// begins with `cannot build the Annulet runtime:`. A panic of a spawned task is in that task's
/// handle and fails nothing by itself.
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    expand(Entry::Test, options.into(), item.into()).into()
}
