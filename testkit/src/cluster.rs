//! Owns the test's view of a cluster: building one, its members, and the hand of fate (strangers' writes, expiry,
//! elections, stops, cuts). Leaves what each of these does to `state`.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::proto::{PbDeleteRequest, PbKeyValue, PbPutRequest};
use tonic::Status;

use crate::auth::{Access, Permission, ROOT};
use crate::faults::{Faults, Method};
use crate::gate::Shared;
use crate::served::Served;
use crate::service::Service;
use crate::state::{Config, FIRST_TERM, Run, State, Stats, Waking};
use crate::store::Store;
use crate::version::Version;
use crate::wire::{Wire, wire_from_routes};

/// A key as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyValue {
    /// The key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
    /// The revision at which it came into being.
    pub create_revision: i64,
    /// The revision of its last put.
    pub mod_revision: i64,
    /// Puts since it came into being.
    pub version: i64,
    /// The lease it hangs on, 0 for none.
    pub lease: i64,
}

impl From<&PbKeyValue> for KeyValue {
    fn from(kv: &PbKeyValue) -> Self {
        KeyValue {
            key: kv.key.clone(),
            value: kv.value.clone(),
            create_revision: kv.create_revision,
            mod_revision: kv.mod_revision,
            version: kv.version,
            lease: kv.lease,
        }
    }
}

/// A lease as a test sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseInfo {
    /// Its id.
    pub id: i64,
    /// The TTL that was granted, seconds.
    pub ttl: i64,
    /// What is left of it on the server's clock.
    pub remaining: Duration,
    /// Its keys, in order.
    pub keys: Vec<Vec<u8>>,
}

/// How a cluster is to be.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    config: Config,
    members: usize,
}

impl Builder {
    /// 1 or 3 members (etcd's other sizes would work, and prove nothing more). Default 1.
    pub fn members(mut self, members: usize) -> Self {
        self.members = members.max(1);
        self
    }

    /// Which etcd to behave as. Default: the newest.
    pub fn version(mut self, version: Version) -> Self {
        self.config.version = version;
        self
    }

    /// The smallest TTL it grants, seconds. Default 1; etcd with its default ticks grants 2.
    pub fn min_ttl(mut self, seconds: i64) -> Self {
        self.config.min_ttl = seconds;
        self
    }

    /// Makes ids. The same seed, the same run. Default 0.
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = seed;
        self
    }

    /// How long a token lives after its last use on a member. Default 300 s, as etcd's.
    pub fn token_ttl(mut self, ttl: Duration) -> Self {
        self.config.token_ttl = ttl;
        self
    }

    /// How long the others wait before they elect a new leader, and a member before it notices that there is none.
    /// Default 1.5 s: etcd's is 1 to 2 s.
    pub fn election_timeout(mut self, timeout: Duration) -> Self {
        self.config.election_timeout = timeout;
        self
    }

    /// How long a follower takes to forward one renewal (it forwards one at a time, in order). Default none.
    pub fn forward_latency(mut self, latency: Duration) -> Self {
        self.config.forward_latency = latency;
        self
    }

    /// The cluster. Needs no runtime; its clock is tokio's, so paused time works if the call is made under it.
    #[must_use]
    pub fn build(self) -> Cluster {
        let member_faults = (0..self.members).map(|_| Faults::new()).collect();
        Cluster {
            shared: Shared::new(State::new(self.config, self.members)),
            faults: Faults::new(),
            member_faults,
        }
    }
}

/// An etcd in memory: 1 or 3 members over one store. For tests and demos, never for production: nothing is kept,
/// nothing is agreed on by raft. A handle, cheap to clone, all clones the same. The clock brings expiry and elections
/// whenever anybody looks, and wakes open watch streams in time.
#[derive(Clone, Debug)]
pub struct Cluster {
    shared: Arc<Shared>,
    faults: Faults,
    member_faults: Vec<Faults>,
}

impl Cluster {
    /// One member, all defaults.
    #[must_use]
    pub fn single() -> Self {
        Cluster::builder().build()
    }

    /// Three members, all defaults; member 0 leads.
    #[must_use]
    pub fn three() -> Self {
        Cluster::builder().members(3).build()
    }

    /// Chooses how the cluster is.
    pub fn builder() -> Builder {
        Builder {
            config: Config {
                version: Version::default(),
                min_ttl: 1,
                seed: 0,
                token_ttl: Duration::from_secs(300),
                election_timeout: Duration::from_millis(1500),
                forward_latency: Duration::ZERO,
                max_request_bytes: 1536 * 1024,
            },
            members: 1,
        }
    }

    /// How many members there are.
    #[must_use]
    pub fn size(&self) -> usize {
        self.member_faults.len()
    }

    /// A member, by its index from 0. An index that does not exist gives a member that refuses everything.
    #[must_use]
    pub fn member(&self, index: usize) -> Member {
        let faults = self.member_faults.get(index).cloned().unwrap_or_else(|| {
            let nobody = Faults::new();
            nobody.set_down(true);
            nobody
        });
        Member {
            shared: Arc::clone(&self.shared),
            index,
            faults,
            cluster_faults: self.faults.clone(),
        }
    }

    /// The member that leads now, if any.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        self.shared.lock().state.leading()
    }

    /// Faults between any client and any member.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// A key as it is now, by whom ever it was written.
    #[must_use]
    pub fn get(&self, key: impl AsRef<[u8]>) -> Option<KeyValue> {
        self.shared
            .lock()
            .state
            .store
            .get(key.as_ref())
            .map(KeyValue::from)
    }

    /// All keys, in order.
    #[must_use]
    pub fn keys(&self) -> Vec<KeyValue> {
        self.shared
            .lock()
            .state
            .store
            .live()
            .map(KeyValue::from)
            .collect()
    }

    /// All leases, the next to expire first.
    #[must_use]
    pub fn leases(&self) -> Vec<LeaseInfo> {
        let locked = self.shared.lock();
        let keys = |id| locked.state.store.keys_of(id);
        let all = locked.state.lessor.all(locked.now).into_iter();
        all.map(|known| LeaseInfo {
            id: known.id,
            ttl: known.ttl,
            remaining: known.remaining,
            keys: keys(known.id),
        })
        .collect()
    }

    /// The store's revision.
    #[must_use]
    pub fn revision(&self) -> i64 {
        self.shared.lock().state.store.revision()
    }

    /// The newest raft term.
    #[must_use]
    pub fn raft_term(&self) -> u64 {
        self.shared.lock().state.term
    }

    /// The cluster's id, as in every header.
    #[must_use]
    pub fn cluster_id(&self) -> u64 {
        self.shared.lock().state.cluster_id
    }

    /// What has been called, and what is open.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let state = self.shared.lock().state;
        Stats {
            keepalive_streams: state.keepalive_streams,
            watch_streams: state.streams.len(),
            watchers: state
                .streams
                .values()
                .map(crate::watch::WatchStream::watchers)
                .sum(),
            ..state.stats.clone()
        }
    }

    /// A stranger's put; answers its revision. The lease is taken as it is, 0 for none.
    pub fn put(&self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>, lease: i64) -> i64 {
        let request = PbPutRequest {
            key: key.into(),
            value: value.into(),
            lease,
            ..Default::default()
        };
        self.shared.change(|state, _| {
            let mut writing = state.store.write();
            writing.put(&request);
            let committed = writing.commit();
            state.publish(&committed);
            committed.revision
        })
    }

    /// A stranger's delete of one key; false if it was not there.
    pub fn delete(&self, key: impl Into<Vec<u8>>) -> bool {
        self.delete_interval(key, Vec::new()) > 0
    }

    /// A stranger's delete of all keys with this prefix, in one revision; answers how many.
    pub fn delete_prefix(&self, prefix: impl Into<Vec<u8>>) -> i64 {
        let prefix = prefix.into();
        let mut end = prefix.clone();
        // The next key after all with the prefix: its last byte that can grow grows.
        while end.last() == Some(&u8::MAX) {
            end.pop();
        }
        match end.last_mut() {
            Some(last) => *last += 1,
            None => end = vec![0],
        }
        self.delete_interval(if prefix.is_empty() { vec![0] } else { prefix }, end)
    }

    fn delete_interval(&self, key: impl Into<Vec<u8>>, range_end: Vec<u8>) -> i64 {
        let request = PbDeleteRequest {
            key: key.into(),
            range_end,
            ..Default::default()
        };
        self.shared.change(|state, _| {
            let mut writing = state.store.write();
            let deleted = writing.delete(&request).deleted;
            let committed = writing.commit();
            state.publish(&committed);
            deleted
        })
    }

    /// A stranger's revoke; false if there is no such lease.
    pub fn revoke(&self, lease: i64) -> bool {
        self.shared.change(|state, _| state.revoke(lease))
    }

    /// Ends a lease now as its clock would; false if there is no such lease. (In etcd, too, an expiry is a revoke.)
    pub fn expire(&self, lease: i64) -> bool {
        self.revoke(lease)
    }

    /// Ends the lease that this key hangs on; false if there is none.
    pub fn expire_key(&self, key: impl AsRef<[u8]>) -> bool {
        self.get(key).is_some_and(|kv| self.revoke(kv.lease))
    }

    /// Compacts up to a revision; false if that is compacted already or in the future.
    pub fn compact(&self, revision: i64) -> bool {
        self.shared
            .change(|state, _| state.store.compact(revision).is_ok())
    }

    /// Compacts everything up to now; answers the revision.
    pub fn compact_now(&self) -> i64 {
        self.shared.change(|state, _| {
            let revision = state.store.revision();
            // Compacting the same revision twice changes nothing.
            let _ = state.store.compact(revision);
            revision
        })
    }

    /// Makes a member the leader, at once: the raft term grows, and every lease starts anew with a second more, as etcd
    /// does on such an occasion.
    pub fn change_leader(&self, to: usize) {
        self.shared
            .change(|state, now| state.lead(to.min(state.members.len().saturating_sub(1)), now));
    }

    /// An election that the same member wins again.
    pub fn bump_raft_term(&self) {
        self.shared.change(|state, now| {
            let again = state.leader.unwrap_or(0);
            state.lead(again, now);
        });
    }

    /// Moves the server's clock forward: leases, tokens and elections that are due by then happen now.
    pub fn jump_clock(&self, by: Duration) {
        self.shared.jump(by);
    }

    /// The cluster as it comes back after its data was wiped: same ids, nothing in it, revision and raft term low
    /// again, streams broken (`case_49`).
    pub fn wipe(&self) {
        self.shared.change(|state, now| {
            state.store = Store::new();
            state.lessor = crate::lease::Lessor::new(state.config.min_ttl, state.config.seed);
            state.term = FIRST_TERM;
            state.streams.clear();
            state.reconsider(now);
        });
        self.faults.break_streams(Method::Any);
        self.member_faults
            .iter()
            .for_each(|faults| faults.break_streams(Method::Any));
    }

    /// What a stopped leader does when it goes on and is leader no more. Default: it answers what it held with its old
    /// term and the TTL, and revokes nothing.
    pub fn set_waking(&self, waking: Waking) {
        self.shared.change(|state, _| state.waking = waking);
    }

    /// Turns auth on, with `root` and this password.
    pub fn enable_auth(&self, root_password: &str) {
        self.shared.change(|state, _| {
            // Whoever turned it on by hand has these already.
            let _ = state.auth.add_role(ROOT.to_owned());
            let _ = state
                .auth
                .add_user(ROOT.to_owned(), root_password.to_owned());
            let _ = state.auth.grant_role(ROOT, ROOT.to_owned());
            let _ = state.auth.enable();
        });
    }

    /// Adds a user, or gives it another password (which ends its tokens).
    pub fn set_user(&self, name: &str, password: &str) {
        self.shared.change(|state, _| {
            if state.auth.users.contains_key(name) {
                let _ = state.auth.change_password(name, password.to_owned());
            } else {
                let _ = state.auth.add_user(name.to_owned(), password.to_owned());
            }
        });
    }

    /// Gives a user access to a key (`range_end` empty) or an interval of keys, by a role of the user's name.
    pub fn allow(
        &self,
        user: &str,
        access: Access,
        key: impl Into<Vec<u8>>,
        range_end: impl Into<Vec<u8>>,
    ) {
        let permission = Permission {
            access,
            key: key.into(),
            range_end: range_end.into(),
        };
        self.shared.change(|state, _| {
            let _ = state.auth.add_role(user.to_owned());
            let _ = state.auth.grant_role(user, user.to_owned());
            let _ = state.auth.grant_permission(user, permission);
        });
    }

    /// Ends every token on every member.
    pub fn expire_tokens(&self) {
        self.shared.change(|state, _| state.auth.forget_tokens());
    }
}

/// One member of a cluster. A handle, cheap to clone.
#[derive(Clone, Debug)]
pub struct Member {
    shared: Arc<Shared>,
    index: usize,
    faults: Faults,
    cluster_faults: Faults,
}

impl Member {
    /// Its index.
    #[must_use]
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its id, as in its headers.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.shared
            .lock()
            .state
            .member(self.index)
            .map_or(0, |member| member.id)
    }

    /// A wire to it inside this process, faults included. Its calls must be made on a tokio runtime.
    #[must_use]
    pub fn service(&self) -> Wire {
        let service = Service {
            shared: Arc::clone(&self.shared),
            member: self.index,
        };
        self.cluster_faults
            .wrap(self.faults.wrap(wire_from_routes(service.routes())))
    }

    /// Serves it on a socket ("127.0.0.1:0" chooses a free port).
    ///
    /// # Errors
    /// What binding the address gives.
    pub async fn listen(&self, addr: &str) -> io::Result<Served> {
        let served = Served::start(addr, self.service()).await?;
        let text = served.addr().to_string();
        self.shared.change(|state, _| {
            if let Some(member) = state.members.get_mut(self.index) {
                member.address = Some(text);
            }
        });
        Ok(served)
    }

    /// Faults between any client and this member.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Stops it as SIGSTOP does: it accepts, and never answers. If it led, the others elect another after the election
    /// timeout.
    pub fn stop(&self) {
        self.shared
            .change(|state, now| state.halt(self.index, Run::Stopped, now));
    }

    /// Lets it go on: everything held is handled, in the order it came. One that led and was replaced answers the
    /// renewals it held with its old term and renews nothing; the reads fail; the writes are done (raft passes them on).
    pub fn cont(&self) {
        self.shared
            .change(|state, now| state.resume(self.index, now));
    }

    /// Takes it away as SIGKILL does: streams break, calls are refused.
    pub fn kill(&self) {
        self.shared
            .change(|state, now| state.halt(self.index, Run::Down, now));
        self.faults.set_down(true);
    }

    /// Brings it back after `kill`.
    pub fn restart(&self) {
        self.faults.set_down(false);
        self.shared
            .change(|state, now| state.resume(self.index, now));
    }

    /// Cuts it off from the others, not from its clients: it answers renewals with the TTL and the raft term of now
    /// without renewing anything, and serializable reads from what it has; everything else fails after 7 s. If it led,
    /// the others elect another after the election timeout.
    pub fn isolate(&self) {
        self.shared
            .change(|state, now| state.isolate(self.index, now));
    }

    /// Joins it to the others again.
    pub fn heal(&self) {
        self.shared.change(|state, now| state.heal(self.index, now));
    }

    /// Makes it report this raft term in its headers, while it does everything rightly: a member that caught up by
    /// snapshot does that for a while (`case_48`).
    pub fn report_old_term(&self, term: u64) {
        self.report(Some(term));
    }

    /// Makes it report the true term again.
    pub fn report_true_term(&self) {
        self.report(None);
    }

    fn report(&self, term: Option<u64>) {
        self.shared.change(|state, _| {
            if let Some(member) = state.members.get_mut(self.index) {
                member.reported_term = term;
            }
        });
    }

    /// Answers every call with this status from now on, as a member in trouble would. `faults().heal()` ends it.
    pub fn answer_all(&self, status: Status) {
        self.faults.answer(Method::Any, u64::MAX, status);
    }
}
