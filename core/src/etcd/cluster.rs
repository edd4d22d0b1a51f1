//! Is it still the one cluster? Its id, its revision and its raft term, as every reply's header tells them.
//! Owns the highest seen and the verdict; ending the terms is the client's.

use super::wire::Header;

/// What has been seen of the cluster so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cluster {
    id: Option<u64>,
    revision: i64,
    raft_term: u64,
    /// The member whose last write was answered at a raft term below the highest seen before it was sent.
    behind: Option<u64>,
}

/// What was known when a linearizable request was sent: what its reply is held against.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    revision: i64,
    raft_term: u64,
    behind: Option<u64>,
    /// The request was a write: whoever answers it has applied an entry of the present raft term.
    write: bool,
}

/// A sign that another cluster answers now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Changed(pub(crate) String);

impl Cluster {
    /// For a linearizable request sent now: its reply never has a lower revision.
    pub(crate) fn floor(&self, write: bool) -> Floor {
        Floor {
            revision: self.revision,
            raft_term: self.raft_term,
            behind: self.behind,
            write,
        }
    }

    /// The highest raft term seen in a linearizable reply (S2).
    pub(crate) fn raft_term(&self) -> u64 {
        self.raft_term
    }

    /// Takes note of a reply. `floor` is [`floor`](Self::floor) at the time of sending, for a linearizable request.
    /// On `Err` everything is forgotten, and the reply is the first of a new cluster.
    pub(crate) fn observe(&mut self, endpoint: &str, header: Header, floor: Option<Floor>) -> Result<(), Changed> {
        let behind = floor.is_some_and(|floor| floor.write && header.raft_term < floor.raft_term);
        let changed = match self.id {
            _ if header.cluster == 0 => return Ok(()), // no header, nothing to learn
            Some(id) if id != header.cluster => Some(format!(
                "{endpoint} (member {:x}) belongs to cluster {:x}, the others to {id:x}",
                header.member, header.cluster
            )),
            _ => floor.and_then(|floor| {
                let member = header.member;
                if header.revision < floor.revision {
                    return Some(format!(
                        "{endpoint} (member {member:x}) is at revision {}, where {} was seen before: \
                         the cluster was wiped or restored",
                        header.revision, floor.revision
                    ));
                }
                // A member that caught up by snapshot says an old raft term until it has applied an entry (case 48),
                // and the answer to that very write may still say it; the answer to the next one does not.
                (behind && floor.behind == Some(member)).then(|| {
                    format!(
                        "{endpoint} (member {member:x}) answers writes at raft term {}, where {} was seen before: \
                         the cluster was wiped or restored",
                        header.raft_term, floor.raft_term
                    )
                })
            }),
        };
        if let Some(message) = changed {
            *self = Cluster {
                id: Some(header.cluster),
                revision: header.revision,
                raft_term: header.raft_term,
                behind: None,
            };
            return Err(Changed(message));
        }
        self.id = Some(header.cluster);
        self.revision = self.revision.max(header.revision);
        if let Some(floor) = floor {
            if floor.write {
                self.behind = behind.then_some(header.member);
            }
            // Only what a quorum stands behind: a member cut off (3.4 has no pre-vote by default) counts its own term
            // up in vain, and with that as the highest nothing would be confirmed any more.
            self.raft_term = self.raft_term.max(header.raft_term);
        }
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn header(cluster: u64, revision: i64, raft_term: u64) -> Header {
        Header {
            cluster,
            member: 1,
            revision,
            raft_term,
        }
    }

    /// A read that was sent when this revision was the highest seen.
    fn at(revision: i64) -> Floor {
        let cluster = Cluster { revision, ..Cluster::default() };
        cluster.floor(false)
    }

    #[test]
    fn case_49_a_wiped_cluster_is_noticed_by_its_revision_and_everything_is_forgotten() {
        let mut cluster = Cluster::default();
        cluster.observe("a", header(7, 100, 9), Some(at(0))).unwrap();
        // A stale read, or one that was sent before the highest was known, is no sign of anything.
        cluster.observe("b", header(7, 90, 8), None).unwrap();
        cluster.observe("b", header(7, 99, 9), Some(at(99))).unwrap();
        assert_eq!((cluster.floor(false).revision, cluster.raft_term()), (100, 9));
        let error = cluster.observe("b", header(7, 3, 2), Some(at(100))).unwrap_err();
        assert!(error.0.starts_with("b (member 1)"), "{}", error.0);
        assert_eq!((cluster.floor(false).revision, cluster.raft_term()), (3, 2));
        cluster.observe("b", header(7, 4, 2), Some(at(3))).unwrap();
    }

    #[test]
    fn case_49_a_wiped_cluster_that_has_overtaken_is_noticed_by_the_raft_term_of_its_writes() {
        let mut cluster = Cluster::default();
        cluster.observe("a", header(7, 100, 9), Some(at(0))).unwrap();
        // Reads say nothing: a member that caught up by snapshot answers them at an old raft term (case 48).
        for revision in 101..110 {
            let floor = cluster.floor(false);
            cluster.observe("a", header(7, revision, 2), Some(floor)).unwrap();
        }
        // Nor does one write, nor one at each of two members, nor two that were under way at once.
        let both = [cluster.floor(true), cluster.floor(true)];
        for floor in both {
            cluster.observe("a", header(7, 110, 2), Some(floor)).unwrap();
        }
        let floor = cluster.floor(true);
        cluster.observe("b", Header { member: 2, ..header(7, 111, 2) }, Some(floor)).unwrap();
        let floor = cluster.floor(true);
        cluster.observe("a", header(7, 112, 2), Some(floor)).unwrap();
        assert_eq!(cluster.raft_term(), 9);
        let floor = cluster.floor(true);
        let error = cluster.observe("a", header(7, 113, 2), Some(floor)).unwrap_err();
        assert!(error.0.contains("a (member 1)") && error.0.contains("raft term 2, where 9"), "{}", error.0);
        assert_eq!((cluster.floor(false).revision, cluster.raft_term()), (113, 2));
    }

    #[test]
    fn s2_a_member_cut_off_that_counts_its_term_up_does_not_spoil_the_highest() {
        let mut cluster = Cluster::default();
        cluster.observe("a", header(7, 5, 2), Some(at(0))).unwrap();
        cluster.observe("b", header(7, 5, 40), None).unwrap();
        assert_eq!(cluster.raft_term(), 2);
        cluster.observe("a", header(7, 5, 3), Some(at(5))).unwrap();
        assert_eq!(cluster.raft_term(), 3);
    }

    #[test]
    fn another_cluster_id_is_named_with_its_member() {
        let mut cluster = Cluster::default();
        cluster.observe("a", header(7, 5, 2), None).unwrap();
        let error = cluster.observe("b:1", header(8, 500, 20), None).unwrap_err();
        assert!(error.0.contains("b:1") && error.0.contains("cluster 8"), "{}", error.0);
    }
}
