//! The comparison: what holders said against what the referee saw, both by `boot_ns`. Pure.
//! Owns what counts as lost, as a false claim and as an overlap; what was done to them meanwhile is the scenario's.

use std::collections::BTreeMap;

use crate::journal::Claim;
use crate::referee::Seen;

/// A term that ended during a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Whose it was.
    pub claim: Claim,
    /// When the key was known to be gone, if it was.
    pub gone: Option<u64>,
    /// When every member had told of it.
    pub gone_everywhere: Option<u64>,
}

impl Lost {
    /// How long it said yes after its key was known to be gone: never negative, 0 if it did not. At least so long.
    #[must_use]
    pub fn beyond(&self) -> u64 {
        self.gone.map_or(0, |gone| self.claim.last_yes.saturating_sub(gone))
    }

    /// The same from when every member had told of it, the holder's own among them.
    #[must_use]
    pub fn beyond_everywhere(&self) -> u64 {
        self.gone_everywhere.map_or(0, |gone| self.claim.last_yes.saturating_sub(gone))
    }

    /// How long before its key was known to be gone it said no for the first time, in ns; negative if after.
    #[must_use]
    pub fn ahead(&self) -> Option<i64> {
        let no = self.claim.ended.as_ref()?.first_no;
        Some(i64::try_from(self.gone?).ok()? - i64::try_from(no).ok()?)
    }
}

/// Two terms of one election that said yes at the same time, for at least so long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The election.
    pub key: String,
    /// The earlier term, by its token.
    pub earlier: i64,
    /// The later one.
    pub later: i64,
    /// Nanoseconds.
    pub by: u64,
}

/// What one trial comes to.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// Terms that held when it began.
    pub held: usize,
    /// Those of them that ended during it.
    pub lost: Vec<Lost>,
    /// Terms that began and ended during it.
    pub lost_again: Vec<Lost>,
    /// Terms that went on saying yes although their key was known to be gone, and have not stopped.
    pub false_claims: Vec<Lost>,
    /// Pairs of terms that were valid at once, ever.
    pub overlaps: Vec<Overlap>,
    /// Terms that said yes after their end.
    pub revived: Vec<Claim>,
    /// Terms whose token is no creation that the referee knows: a win that never was.
    pub unknown: Vec<Claim>,
    /// How long each election that lost its term during the trial was without a valid one, in ns.
    pub vacancies: Vec<u64>,
}

impl Verdict {
    /// The longest claim after the key was known to be gone, in ns.
    #[must_use]
    pub fn worst_beyond(&self) -> u64 {
        self.all_lost().chain(&self.false_claims).map(Lost::beyond).max().unwrap_or(0)
    }

    /// The same from when every member had told of it.
    #[must_use]
    pub fn worst_beyond_everywhere(&self) -> u64 {
        self.all_lost().chain(&self.false_claims).map(Lost::beyond_everywhere).max().unwrap_or(0)
    }

    /// Every term that ended during the trial.
    pub fn all_lost(&self) -> impl Iterator<Item = &Lost> {
        self.lost.iter().chain(&self.lost_again)
    }
}

/// Judges a trial that lasted `from..=to`, from all claims of all holders since the beginning.
#[must_use]
pub fn judge(claims: &[Claim], seen: &Seen, from: u64, to: u64) -> Verdict {
    let mut verdict = Verdict::default();
    let mut by_key: BTreeMap<&str, Vec<&Claim>> = BTreeMap::new();
    for claim in claims {
        by_key.entry(&claim.key).or_default().push(claim);
    }
    for (key, mut terms) in by_key {
        terms.sort_by_key(|claim| claim.token);
        let reigns = seen.reigns(key);
        for claim in &terms {
            let reign = reigns.iter().find(|reign| reign.create == claim.token);
            if claim.revived.is_some() {
                verdict.revived.push((*claim).clone());
            }
            if reign.is_none() && claim.since < to {
                verdict.unknown.push((*claim).clone());
            }
            let lost = Lost {
                claim: (*claim).clone(),
                gone: reign.and_then(|reign| reign.gone),
                gone_everywhere: reign.and_then(|reign| reign.gone_everywhere),
            };
            let ended = claim.ended.as_ref().map(|ended| ended.first_no);
            let held = claim.since < from && ended.is_none_or(|no| no >= from);
            verdict.held += usize::from(held);
            match ended {
                Some(no) if held && no <= to => verdict.lost.push(lost),
                Some(no) if no >= from && no <= to => verdict.lost_again.push(lost),
                None if lost.beyond() > 0 => verdict.false_claims.push(lost),
                _ => {}
            }
        }
        for (place, earlier) in terms.iter().enumerate() {
            for later in terms.iter().skip(place + 1) {
                let by = earlier.last_yes.min(later.last_yes).saturating_sub(earlier.since.max(later.since));
                if by > 0 {
                    verdict.overlaps.push(Overlap {
                        key: key.to_owned(),
                        earlier: earlier.token,
                        later: later.token,
                        by,
                    });
                }
            }
        }
        let ended = terms.iter().filter(|claim| claim.ended.as_ref().is_some_and(|ended| ended.first_no >= from && ended.first_no <= to));
        for earlier in ended {
            let next = terms.iter().filter(|later| later.token > earlier.token).map(|later| later.since).min();
            verdict.vacancies.extend(next.map(|next| next.saturating_sub(earlier.last_yes)));
        }
    }
    verdict
}

#[cfg(test)]
mod tests;
