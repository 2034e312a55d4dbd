//! Programs of entries, drawn at random.
//!
//! A program is a few *strands*, each with descriptors of its own, and each strand a list of chains. The first chains of
//! all strands are staged together, then the second ones, and so on; so strands share submissions, and nothing else.

use proptest::collection::vec;
use proptest::prelude::*;

/// The descriptors of a strand: an end to read from, an end to write to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Pipe,
    /// A pipe that holds all it can.
    FullPipe,
    Stream,
    /// Packets with boundaries.
    Packets,
    File,
    /// The end to read from accepts what a client, outside the ring, connects.
    Listener,
    /// Nothing but time.
    Clock,
    /// Nothing but what others complete; alone in its program.
    Counter,
    /// A word of memory.
    Word,
}

impl Place {
    /// Whether there are buffers to pick.
    pub(super) fn picks(self) -> bool {
        matches!(self, Place::Stream | Place::Packets)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Nop,
    /// A read of a descriptor that is none.
    BadRead,
    /// An opcode that does not exist.
    NoOpcode,
    /// A timeout with flags that do not exist.
    BadFlags,
    Read(u16),
    /// By one buffer in two parts.
    Readv(u16),
    /// A read that does not wait.
    TryRead(u16),
    /// All of it (`MSG_WAITALL`), where that exists.
    ReadAll(u16),
    Write(u16),
    Writev(u16),
    /// No more is written.
    Shutdown,
    CloseWriter,
    Poll,
    PollMany,
    Accept,
    AcceptMany,
    /// From the reader into another pipe, without waiting.
    Splice(u16),
    /// Passes at once, or never.
    Timeout {
        soon: bool,
        success: bool,
    },
    /// Of the entry so many before, in this strand.
    Cancel(u8),
    /// Of all that is done at the reader.
    CancelReader,
    CancelNobody,
    /// Into a buffer that is picked, with room for so many bytes, or all of it.
    Pick(u16),
    /// The same again and again.
    PickMany,
    /// More buffers to pick.
    Provide,
    /// Ends when so many others have completed.
    Count(u8),
    /// Passes so often.
    Repeat(u8),
    /// Ends the timeout so many before.
    Remove(u8),
    /// Gives that another time; or its deadline.
    Update {
        back: u8,
        soon: bool,
        limit: bool,
    },
    /// At the word, if it is what is expected there.
    WaitWord {
        expected: bool,
        shared: bool,
    },
    /// So many of those who wait.
    WakeWord {
        count: u8,
        shared: bool,
    },
}

impl What {
    /// Takes what arrives, or waits for it.
    pub(super) fn consumes(self) -> bool {
        use What::{Accept, AcceptMany, Poll, PollMany, Read, ReadAll, Readv, Splice, TryRead};
        let moves = matches!(
            self,
            Read(_) | Readv(_) | TryRead(_) | ReadAll(_) | Splice(_) | What::Pick(_)
        );
        moves || matches!(self, Poll | PollMany | Accept | AcceptMany | What::PickMany)
    }

    /// Makes something arrive.
    pub(super) fn produces(self) -> bool {
        use What::{CloseWriter, Shutdown, Write, Writev};
        matches!(self, Write(_) | Writev(_) | Shutdown | CloseWriter)
    }

    /// Whether a chain breaks behind it.
    pub(super) fn fails(self, place: Place, result: i32) -> bool {
        use What::{Read, ReadAll, Readv, Splice, TryRead, Write, Writev};
        match self {
            What::Timeout { success: true, .. } => result != -libc::ETIME,
            What::WaitWord { .. } => result < 0 && result != -libc::ECANCELED,
            _ if result < 0 => true,
            TryRead(_) if matches!(place, Place::Stream | Place::Packets) => false,
            Read(len) | Readv(len) | TryRead(len) | ReadAll(len) | Write(len) | Writev(len)
            | Splice(len) => result < i32::from(len),
            _ => false,
        }
    }

    /// Ends others.
    pub(super) fn cancels(self) -> bool {
        use What::{Cancel, CancelReader, Remove, Update};
        matches!(self, Cancel(_) | CancelReader | Remove(_) | Update { .. })
    }

    /// Ends, or hastens, the one so many before.
    pub(super) fn target(self) -> Option<u8> {
        match self {
            What::Cancel(back) | What::Remove(back) => Some(back),
            What::Update { back, soon, .. } => soon.then_some(back),
            _ => None,
        }
    }

    /// Whether it is over as soon as it has begun.
    fn is_quick(self) -> bool {
        use What::{BadRead, Nop, TryRead};
        matches!(self, Nop | BadRead | TryRead(_))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Soft,
    Hard,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub(super) what: What,
    /// How it is linked to the next, if there is one.
    pub(super) link: Link,
    /// Its `LINK_TIMEOUT`: one that passes soon, or never.
    pub(super) limit: Option<bool>,
    /// Its success is not told.
    pub(super) skips: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Strand {
    pub(super) place: Place,
    pub(super) chains: Vec<Vec<Member>>,
    /// Before which chains a client connects.
    pub(super) clients: Vec<bool>,
}

fn what(place: Place) -> BoxedStrategy<What> {
    let size = prop_oneof![4 => 1..40u16, 1 => Just(8192u16)];
    let anywhere = prop_oneof![
        3 => Just(What::Nop),
        1 => Just(What::BadRead),
        1 => prop_oneof![Just(What::NoOpcode), Just(What::BadFlags)],
        2 => any::<(bool, bool)>().prop_map(|(soon, success)| What::Timeout { soon, success }),
        3 => (1..6u8).prop_map(What::Cancel),
        1 => Just(What::CancelReader),
        1 => Just(What::CancelNobody),
    ];
    let reads = (0..4u8, size.clone()).prop_map(|(how, len)| match how {
        0 => What::Read(len),
        1 => What::Readv(len),
        2 => What::TryRead(len),
        _ => What::ReadAll(len),
    });
    let writes = any::<bool>().prop_flat_map(|vectored| {
        (1..40u16).prop_map(move |len| {
            if vectored {
                What::Writev(len)
            } else {
                What::Write(len)
            }
        })
    });
    let polls = prop_oneof![Just(What::Poll), Just(What::PollMany)];
    match place {
        Place::Clock | Place::Counter => prop_oneof![2 => anywhere, 5 => clock()].boxed(),
        Place::Word => prop_oneof![1 => anywhere, 4 => word()].boxed(),
        Place::File => prop_oneof![2 => anywhere, 2 => reads, 2 => writes].boxed(),
        Place::Listener => {
            let accepts = prop_oneof![2 => Just(What::Accept), 1 => Just(What::AcceptMany)];
            prop_oneof![3 => anywhere, 4 => accepts, 1 => polls].boxed()
        }
        Place::FullPipe => prop_oneof![2 => anywhere, 3 => reads, 3 => writes].boxed(),
        Place::Pipe | Place::Stream | Place::Packets => {
            let ends = prop_oneof![Just(What::Shutdown), Just(What::CloseWriter)];
            let splice = size.prop_map(What::Splice);
            let room = prop_oneof![2 => Just(0), 1 => 1..30u16];
            let picks = prop_oneof![
                2 => room.prop_map(What::Pick),
                3 => Just(What::PickMany),
                2 => Just(What::Provide),
            ];
            let picks = if place.picks() {
                picks.boxed()
            } else {
                Just(What::Nop).boxed()
            };
            prop_oneof![
                6 => anywhere, 6 => reads, 6 => writes, 4 => picks, 2 => polls, 1 => ends, 1 => splice
            ]
            .boxed()
        }
    }
}

fn clock() -> impl Strategy<Value = What> {
    let update = (1..5u8, any::<(bool, bool)>());
    prop_oneof![
        4 => (1..6u8).prop_map(What::Count),
        2 => (1..4u8).prop_map(What::Repeat),
        2 => any::<bool>().prop_map(|success| What::Timeout { soon: false, success }),
        2 => (1..5u8).prop_map(What::Remove),
        3 => update.prop_map(|(back, (soon, limit))| What::Update { back, soon, limit }),
    ]
}

fn word() -> impl Strategy<Value = What> {
    let wait = (prop::bool::weighted(0.85), any::<bool>());
    let wake = (0..4u8, any::<bool>());
    prop_oneof![
        3 => wait.prop_map(|(expected, shared)| What::WaitWord { expected, shared }),
        2 => wake.prop_map(|(count, shared)| What::WakeWord { count, shared }),
    ]
}

fn member(place: Place) -> impl Strategy<Value = Member> {
    let link = prop_oneof![3 => Just(Link::Soft), 1 => Just(Link::Hard)];
    let limit = proptest::option::weighted(0.25, prop_oneof![Just(true), Just(false)]);
    (what(place), link, limit, prop::bool::weighted(0.15)).prop_map(|(what, link, limit, skips)| {
        Member {
            what,
            link,
            limit,
            skips,
        }
    })
}

/// Leaves in a chain what has one outcome only.
fn settled(place: Place, mut chain: Vec<Member>) -> Vec<Member> {
    let wrong = |what| matches!(what, What::NoOpcode | What::BadFlags);
    let refused = chain.iter().any(|member| wrong(member.what));
    let last = chain.len() - 1;
    let (mut produced, mut cancelled, mut held) = (false, false, false);
    let gives = chain.iter().any(|member| {
        let counts = matches!(member.what, What::WakeWord { .. } | What::Count(_));
        let makes_room = place == Place::FullPipe && member.what.consumes();
        member.what.produces() || counts || makes_room
    });
    let closes = chain.iter().any(|member| member.what == What::CloseWriter);
    for (at, member) in chain.iter_mut().enumerate() {
        // Whoever waits for bytes may see one write or two. In a file nobody waits.
        if member.what.produces() && place != Place::File {
            if produced {
                member.what = What::Nop;
            }
            produced = true;
        }
        // Who was cancelled may be woken until its thread has run, if a chain went on to do that; and which completions of
        // one look at the ring count for one that begins within it, nobody says.
        if at > 0 && matches!(member.what, What::WakeWord { .. } | What::Count(_)) {
            member.what = What::Nop;
        }
        // Where times pass the kernel may count wrong.
        let counts = place == Place::Counter;
        member.limit = member.limit.map(|soon| soon && !counts);
        member.what = match member.what {
            What::Count(count) if !counts => What::Repeat(1 + count % 3),
            What::Repeat(count) if counts && at == 0 => What::Count(count),
            What::Repeat(_) if counts => What::Nop,
            What::Timeout { soon, success } => What::Timeout {
                soon: soon && !counts,
                success,
            },
            What::Update { back, soon, limit } => What::Update {
                back,
                soon: soon && !counts,
                limit,
            },
            what => what,
        };
        // Of packets it does not know whether there are more, and looks for a buffer to find out.
        if place == Place::Packets && member.what == What::PickMany {
            member.what = What::Pick(0);
        }
        // In the kernel a close has happened when its system call ends: within it a file may still be open.
        member.what = match member.what {
            What::TryRead(len) if closes => What::Read(len),
            What::ReadAll(len) if place == Place::Packets => What::Read(len),
            // From a socket it waits, told not to or not.
            What::Splice(_) if closes || place != Place::Pipe => What::Nop,
            what => what,
        };
        // Whether what arrives or the cancel is first, nobody says.
        // What follows what was cancelled is on its way then, and found by no second cancel; nor does anybody say what one
        // finds that begins as others are cancelled.
        if member.what.cancels() {
            if gives || cancelled || held {
                member.what = What::CancelNobody;
            }
            cancelled = true;
        } else {
            // Where completions count, any may be what another waits for.
            held |= !member.what.is_quick() || place == Place::Counter;
        }
        // A silent member that waits could not be told from one that is done; nor could a silent last one.
        member.skips &= member.what.is_quick() && at != last && !refused && member.limit.is_none();
        // A deadline does not reach what the kernel does on a worker. Whether it or a deadline of the same length is
        // first, nobody says.
        let limited = match member.what {
            What::Splice(_) | What::PollMany | What::AcceptMany | What::PickMany => false,
            What::Repeat(_) => false,
            What::Timeout { soon, .. } => !soon,
            _ => place != Place::File,
        };
        // One that passes on the way to a worker answers `ENOENT`.
        let waits = matches!(member.what, What::Timeout { .. } | What::WaitWord { .. });
        if !member.what.consumes() && !waits {
            member.limit = member.limit.map(|_| false);
        }
        if !limited || wrong(member.what) {
            member.limit = None;
        }
    }
    chain
}

fn anywhere() -> impl Strategy<Value = Place> {
    prop_oneof![
        3 => Just(Place::Pipe),
        1 => Just(Place::FullPipe),
        3 => Just(Place::Stream),
        1 => Just(Place::Packets),
        1 => Just(Place::File),
        2 => Just(Place::Listener),
        2 => Just(Place::Word),
        1 => Just(Place::Clock),
    ]
}

fn strand(place: impl Strategy<Value = Place>) -> impl Strategy<Value = Strand> {
    place.prop_flat_map(|place| {
        let chain = vec(member(place), 1..5).prop_map(move |chain| settled(place, chain));
        let chains = vec(chain, 1..6);
        let clients = vec(any::<bool>(), 6);
        (chains, clients).prop_map(move |(chains, clients)| Strand {
            place,
            chains,
            clients,
        })
    })
}

pub(super) fn program() -> impl Strategy<Value = Vec<Strand>> {
    // What completes elsewhere would count.
    let counting = vec(strand(Just(Place::Counter)), 1);
    prop_oneof![8 => vec(strand(anywhere()), 1..5), 2 => counting]
}
