//! What is wrong, in a contest of ours with others: terms of ours beside each other, beyond their own key, or beside a
//! peer's rightful hold. Pure. Owns the rules; the words and the reads are `journal`'s and `referee`'s.

use crate::journal::Claim;
use crate::referee::{Reign, Seen};

/// An election, as etcd has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Election {
    /// One key: who created it leads.
    Single(String),
    /// Keys under this prefix (with its slash): the one created first leads.
    Queue(String),
}

/// A hold of an election by right: etcd's revisions show this key as the leader's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The key.
    pub key: String,
    /// The revision of its creation.
    pub create: i64,
    /// It was the leader's by then.
    pub from: u64,
    /// And certainly was so still: a linearizable read that began then showed it.
    pub until: u64,
    /// When it was first known that it is gone.
    pub gone: Option<u64>,
}

/// Every hold of an election by right, in the order of their revisions.
#[must_use]
pub fn holds(election: &Election, seen: &Seen) -> Vec<Hold> {
    let of = |key: &str, reign: &Reign, from: u64| Hold {
        key: key.to_owned(),
        create: reign.create,
        from,
        until: reign.shown,
        gone: reign.gone,
    };
    let prefix = match election {
        Election::Single(key) => return seen.reigns(key).iter().map(|reign| of(key, reign, reign.known)).collect(),
        Election::Queue(prefix) => prefix,
    };
    let keys = seen.keys(prefix);
    let mut line: Vec<(&String, Reign)> = keys.iter().flat_map(|key| seen.reigns(key).into_iter().map(move |one| (key, one))).collect();
    line.sort_by_key(|(_, reign)| reign.create);
    let mut holds = Vec::new();
    // When everybody before had gone; none while somebody has not.
    let mut free = Some(0);
    for (key, reign) in line {
        if let Some(free) = free.filter(|free| reign.gone.is_none_or(|gone| gone > *free)) {
            holds.push(of(key, &reign, reign.known.max(free)));
        }
        free = free.zip(reign.gone).map(|(before, gone)| before.max(gone));
    }
    holds
}

/// What is wrong with our terms in an election; empty if nothing is.
#[must_use]
pub fn fouls(claims: &[Claim], holds: &[Hold]) -> Vec<String> {
    let mut fouls = Vec::new();
    let ms = |ns: u64| ns as f64 / 1e6;
    for claim in claims {
        let who = format!("{} in its term {}", claim.holder, claim.token);
        let is_own = |hold: &&Hold| hold.key == claim.key && hold.create == claim.token;
        if claim.revived.is_some() {
            fouls.push(format!("{who} said yes after it had said no (S5)"));
        }
        match holds.iter().find(is_own) {
            None => fouls.push(format!("{who} led by a key that never was the leader's (S4)")),
            Some(own) => {
                let beyond = own.gone.map_or(0, |gone| claim.last_yes.saturating_sub(gone));
                if beyond > 0 {
                    fouls.push(format!("{who} said yes {:.1} ms after its key was known to be gone (S1)", ms(beyond)));
                }
            }
        }
        for other in holds.iter().filter(|hold| !is_own(hold)) {
            let by = claim.last_yes.min(other.until).saturating_sub(claim.since.max(other.from));
            if by > 0 {
                fouls.push(format!("{who} led for {:.1} ms while {} held the election by right (S1)", ms(by), other.key));
            }
        }
    }
    for (place, one) in claims.iter().enumerate() {
        for other in claims.iter().skip(place + 1) {
            let by = one.last_yes.min(other.last_yes).saturating_sub(one.since.max(other.since));
            if by > 0 {
                let (a, b) = (&one.holder, &other.holder);
                fouls.push(format!("{a} and {b} led at once for {:.1} ms: terms {} and {} (S1)", ms(by), one.token, other.token));
            }
        }
    }
    fouls
}

#[cfg(test)]
mod tests;
