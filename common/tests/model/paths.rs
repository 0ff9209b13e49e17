//! Whether every path ends: the same worlds once more, as a graph.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use stateright::Model;

use super::protocol::Protocol;
use super::state::World;

/// What the graph of all worlds looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Worlds.
    pub(crate) worlds: usize,
    /// Worlds on a cycle or behind one.
    pub(crate) on_cycles: usize,
    /// Worlds from which no path leads to the end of every message.
    pub(crate) lost: usize,
}

/// Explores everything `protocol` can do.
pub(crate) fn shape(protocol: &Protocol) -> Shape {
    // By hash: the worlds themselves would not fit.
    let mut numbers: HashMap<u64, usize> = HashMap::new();
    let mut open: Vec<World> = Vec::new();
    let mut done: Vec<bool> = Vec::new();
    for world in protocol.init_states() {
        numbers.insert(hash(&world), numbers.len());
        done.push(world.all_done());
        open.push(world);
    }
    let mut edges: Vec<(usize, usize)> = Vec::new();
    while let Some(world) = open.pop() {
        let from = numbers[&hash(&world)];
        for next in protocol.next_states(&world) {
            let number = numbers.len();
            let to = match numbers.entry(hash(&next)) {
                Entry::Occupied(known) => *known.get(),
                Entry::Vacant(new) => {
                    done.push(next.all_done());
                    open.push(next);
                    *new.insert(number)
                }
            };
            edges.push((from, to));
        }
    }
    Shape {
        worlds: done.len(),
        on_cycles: not_ordered(done.len(), &edges),
        lost: lost(done, &edges),
    }
}

fn hash(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// How many cannot be put into an order in which every edge leads on.
fn not_ordered(worlds: usize, edges: &[(usize, usize)]) -> usize {
    let after = neighbours(worlds, edges.iter().copied());
    let mut before = vec![0_usize; worlds];
    for (_, to) in edges {
        before[*to] += 1;
    }
    let mut free: Vec<usize> = (0..worlds).filter(|world| before[*world] == 0).collect();
    let mut ordered = 0;
    while let Some(world) = free.pop() {
        ordered += 1;
        for to in &after[world] {
            before[*to] -= 1;
            if before[*to] == 0 {
                free.push(*to);
            }
        }
    }
    worlds - ordered
}

/// How many have no way to a world in which all is done.
fn lost(mut reaches: Vec<bool>, edges: &[(usize, usize)]) -> usize {
    let before = neighbours(reaches.len(), edges.iter().map(|(from, to)| (*to, *from)));
    let mut open: Vec<usize> = (0..reaches.len()).filter(|world| reaches[*world]).collect();
    while let Some(world) = open.pop() {
        for from in &before[world] {
            if !reaches[*from] {
                reaches[*from] = true;
                open.push(*from);
            }
        }
    }
    reaches.into_iter().filter(|reaches| !reaches).count()
}

fn neighbours(worlds: usize, edges: impl Iterator<Item = (usize, usize)>) -> Vec<Vec<usize>> {
    let mut after = vec![Vec::new(); worlds];
    for (from, to) in edges {
        after[from].push(to);
    }
    after
}
