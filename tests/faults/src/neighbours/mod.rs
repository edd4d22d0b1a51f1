//! Neighbours: electors of ours and contenders that are no work of ours, on the same keys, through kills and pauses.
//! Owns the tools; what is done is `contest`'s, who contends `contender`'s, what is wrong `fouls`'s.
//!
//! A peer that is wrong by its design (a paused one believes in itself for up to its TTL) is judged by what etcd holds;
//! a term of ours by what it says of itself.

pub mod contender;
pub mod contest;
pub mod fouls;

use std::time::{SystemTime, UNIX_EPOCH};

use leadership_tests::etcd::{Etcd, Version};

use crate::referee::Referee;
use contest::{Contest, PREFIX};

/// What a run came to.
pub struct Found {
    /// How often somebody began to lead.
    pub turns: usize,
    /// What was wrong; empty if nothing.
    pub fouls: Vec<String>,
    /// Who led how often, and for how long the peers believed in themselves beyond the end of their keys.
    pub lines: Vec<String>,
}

/// Both kinds of election on one etcd at once, so many cycles: in each, every contender leads.
///
/// # Errors
/// A program is missing, or somebody's turn never came: the word `seed` begins what it takes to play it again.
pub async fn play(version: Version, program: &std::path::Path, cycles: usize) -> Result<Found, String> {
    let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |since| since.subsec_nanos()).max(1);
    let etcd = Etcd::start(version).await?;
    let endpoint = etcd.endpoints().into_iter().next().ok_or("an etcd without members")?;
    let referee = Referee::start(&etcd.endpoints(), PREFIX)?;
    let mut single = Contest::single(program, &endpoint, seed).await?;
    let mut queue = Contest::queue(program, &endpoint, seed).await?;
    let (mut fouls, mut lines) = (Vec::new(), Vec::new());
    for _ in 0..cycles {
        let (one, other) = tokio::join!(single.cycle(), queue.cycle());
        one.and(other).map_err(|error| format!("seed {seed}: {error}"))?;
    }
    for contest in [&mut single, &mut queue] {
        fouls.extend(contest.judge(&referee).await.map_err(|error| format!("seed {seed}: {error}"))?);
        lines.extend(contest.lines(&referee));
    }
    Ok(Found { turns: single.turns() + queue.turns(), fouls, lines })
}
