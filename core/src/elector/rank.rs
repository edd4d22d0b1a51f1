//! Who comes before a candidate when the key goes: the first campaigns at once, the others ever later, and only if it is
//! still vacant (DESIGN §5 "No herd"). Owns that order; when it is read, and what is done at the time, is `standing`'s.

use std::rc::Rc;
use std::time::Duration;

use crate::error::Result;
use crate::etcd::Failure;
use crate::io::Io;
use crate::protocol::{self, Key, Registered};

/// Between two candidates: several times what a campaign and its event take.
const STEP: Duration = Duration::from_millis(20);
/// Nobody waits longer, …
const MOST: Duration = Duration::from_secs(1);
/// … nor longer than this part of the TTL.
const PER_TTL: u32 = 4;
/// So many registrations are read, the first by name: what etcd need not sort costs it the same with thousands. If there
/// are more, these are the ones that take turns; who is not among them, and not preferred to them, waits the longest.
const READ: usize = 64;

/// The candidates before one, by their leases.
#[derive(Debug, Default)]
pub(super) struct Rank {
    /// `None`: not read yet.
    before: Option<Vec<i64>>,
}

impl Rank {
    /// What a read showed, to the candidate whose registration was made at `revision`. False: its registration is gone.
    pub(super) fn read(&mut self, all: &[Registered], revision: i64, priority: i64) -> bool {
        let among = all.iter().any(|one| one.revision == revision);
        let before = all.iter().filter(|one| {
            one.priority > priority || one.priority == priority && (one.revision < revision || !among)
        });
        self.before = Some(before.map(|one| one.lease).collect());
        among || all.len() >= READ
    }

    /// The holder of `lease` leads now, and stands no more.
    pub(super) fn leads(&mut self, lease: i64) {
        if let Some(before) = &mut self.before {
            before.retain(|other| *other != lease);
        }
    }

    /// How long to leave a vacant key to those before. Before they were read, as if there were one.
    pub(super) fn delay(&self, ttl: Duration) -> Duration {
        let before = self.before.as_ref().map_or(1, Vec::len);
        let steps = u32::try_from(before).unwrap_or(u32::MAX);
        STEP.saturating_mul(steps).min(MOST).min(ttl / PER_TTL)
    }
}

/// The candidates of a key, the first of them by name.
pub(super) async fn registered(io: Rc<Io>, key: Key) -> Result<Vec<Registered>> {
    let limit = i64::try_from(READ).unwrap_or(i64::MAX);
    let got = io.etcd.read("read of the candidates", &key, &protocol::registrations(&key, limit)).await;
    Ok(protocol::registrations_reply(&got.map_err(Failure::into_error)?.body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(lease: i64, revision: i64, priority: i64) -> Registered {
        Registered { lease, revision, priority, value: Vec::new() }
    }

    #[test]
    fn candidates_are_ordered_by_priority_then_by_registration() {
        let all = [one(1, 10, 0), one(2, 20, 5), one(3, 30, 0), one(4, 40, -1), one(5, 50, 0)];
        let ttl = Duration::from_secs(60);
        let delays = all.clone().map(|own| {
            let mut rank = Rank::default();
            assert!(rank.read(&all, own.revision, own.priority));
            rank.delay(ttl).as_millis()
        });
        assert_eq!(delays, [20, 0, 40, 80, 60]);
    }

    #[test]
    fn who_leads_is_struck_off_and_the_delay_has_a_bound() {
        let mut rank = Rank::default();
        let ttl = Duration::from_secs(5);
        assert_eq!(rank.delay(ttl), STEP, "nothing is known yet");
        let all: Vec<_> = (1..=READ).map(|n| one(i64::try_from(n).unwrap_or(0), 10, 0)).collect();
        assert!(rank.read(&all, 5, 0), "further ones were not read");
        assert_eq!(rank.delay(ttl), MOST, "it is none of those who take turns");
        assert!(rank.read(&all, 5, 1));
        assert_eq!(rank.delay(ttl), Duration::ZERO, "but preferred to them");
        assert!(rank.read(&all, 5, 0));
        assert_eq!(rank.delay(Duration::from_secs(2)), Duration::from_millis(500));
        assert!(rank.read(&[one(7, 5, 0), one(8, 6, 0), one(9, 7, 0)], 7, 0));
        rank.leads(8);
        rank.leads(3);
        assert_eq!(rank.delay(ttl), STEP);
        assert!(!rank.read(&[one(7, 5, 0)], 7, 0), "its own is not among all");
    }
}
