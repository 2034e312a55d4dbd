//! Programs of entries, drawn at random.
//!
//! A program is a few *strands*, each with descriptors of its own, and each strand a list of chains. The first chains of
//! all strands are staged together, then the second ones, and so on; so strands share submissions, and nothing else.

use proptest::collection::vec;
use proptest::prelude::*;

use super::fixed::{Fixed, fixed};
use super::members::What;
use super::place::Place;
use super::settled::settled;

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
    pub(super) fixed: Fixed,
}

#[derive(Clone, Debug)]
pub(super) struct Strand {
    pub(super) place: Place,
    pub(super) chains: Vec<Vec<Member>>,
    /// Before which chains a client connects.
    pub(super) clients: Vec<bool>,
}

/// `rows`: files may be named by rows.
fn member(place: Place, rows: bool) -> impl Strategy<Value = Member> {
    let link = prop_oneof![3 => Just(Link::Soft), 1 => Just(Link::Hard)];
    let limit = proptest::option::weighted(0.25, any::<bool>());
    let skips = prop::bool::weighted(0.15);
    let member = (place.members(), link, limit, skips, fixed(rows));
    member.prop_map(|(what, link, limit, skips, fixed)| Member {
        what,
        link,
        limit,
        skips,
        fixed,
    })
}

fn anywhere() -> impl Strategy<Value = Place> {
    prop_oneof![
        3 => Just(Place::Pipe),
        1 => Just(Place::FullPipe),
        3 => Just(Place::Stream),
        1 => Just(Place::Packets),
        1 => Just(Place::Datagrams),
        1 => Just(Place::Directory),
        1 => Just(Place::Mail),
        1 => Just(Place::File),
        2 => Just(Place::Listener),
        2 => Just(Place::Word),
        1 => Just(Place::Clock),
    ]
}

fn strand(place: impl Strategy<Value = Place>) -> impl Strategy<Value = Strand> {
    let rows = prop::bool::weighted(0.4);
    (place, rows).prop_flat_map(|(place, rows)| {
        let chain = vec(member(place, rows && place != Place::Table), 1..5)
            .prop_map(move |chain| settled(place, chain));
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
    // Which row is free depends on all.
    let rows = vec(strand(Just(Place::Table)), 1);
    prop_oneof![8 => vec(strand(anywhere()), 1..5), 2 => counting, 1 => rows]
}
