//! One description of a case, two worlds to run it in: the test server under virtual time, and a real etcd.
//! Owns clients behind faults, a stranger's hand on the store, and waiting for conditions; the cases own the rest.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::proto::{
    PbCompactionRequest, PbDeleteRequest, PbKeyValue, PbLeaseLeasesRequest, PbLeaseRevokeRequest, PbPutRequest, PbRangeRequest,
};
use leadership_core::{
    BootTime, Client, ClientOptions, Clock, Leadership, LeadershipOptions, TermHandle, TermState, VirtualClock,
};
use leadership_testkit::{Cluster, Faults, Wire, wire_from_channel};

use crate::etcd::{Etcd, Version};
use crate::raw::Raw;

/// Seeds that every simulated case runs with, unless `LEADERSHIP_SEED` names one.
const SEEDS: [u64; 3] = [1, 2, 3];
/// No case takes longer, in the time of its world.
const CASE_BOUND: Duration = Duration::from_secs(900);
/// How long a condition may take to come true.
const PATIENCE: Duration = Duration::from_secs(15);

/// Where a case happens.
pub struct World {
    /// The test server; `None` in the live world.
    pub cluster: Option<Cluster>,
    /// Real etcd; `None` in the simulated world.
    pub etcd: Option<Etcd>,
    /// The seed of this run.
    pub seed: u64,
    wires: Vec<(String, Wire)>,
}

/// A client of its own, as a process of its own would have: its faults, its clock.
pub struct Peer {
    /// The client under test.
    pub client: Client,
    /// What befalls its calls and streams.
    pub faults: Faults,
    /// Its clock; jumps are suspends.
    pub clock: Arc<VirtualClock>,
}

impl Peer {
    /// A leadership for `key` with the default options.
    pub fn leadership(&self, key: &str) -> Leadership {
        self.leadership_with(key, LeadershipOptions::default().purpose("case"))
    }

    /// A leadership for `key`.
    pub fn leadership_with(&self, key: &str, options: LeadershipOptions) -> Leadership {
        ok(Leadership::with_options(&self.client, key, options))
    }
}

/// What a term has said of itself from now on, changes only, each as it is announced. Must be called in a `LocalSet`.
pub fn record(term: &TermHandle) -> Rc<RefCell<Vec<TermState>>> {
    let mut level = term.watch();
    let said = Rc::new(RefCell::new(vec![*level.borrow_and_update()]));
    let kept = said.clone();
    tokio::task::spawn_local(async move {
        while level.changed().await.is_ok() {
            let state = *level.borrow_and_update();
            kept.borrow_mut().push(state);
        }
    });
    said
}

/// The value, or a panic that says what came instead.
#[track_caller]
pub fn ok<T, E: std::fmt::Debug>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(error) => panic!("{error:?}"),
    }
}

type Case<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

/// Runs a case on the test server under virtual time, once for each seed; a failure names the seed.
pub fn simulated(case: impl for<'a> Fn(&'a World) -> Case<'a>) {
    simulated_with(Cluster::builder(), case);
}

/// [`simulated`] on a test server of another kind.
pub fn simulated_with(builder: leadership_testkit::Builder, case: impl for<'a> Fn(&'a World) -> Case<'a>) {
    let chosen = std::env::var("LEADERSHIP_SEED").ok().and_then(|seed| seed.parse().ok());
    for seed in chosen.map_or(SEEDS.to_vec(), |seed| vec![seed]) {
        eprintln!("seed {seed} (again: LEADERSHIP_SEED={seed})");
        let runtime = ok(tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build());
        let builder = builder.clone().seed(seed);
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let cluster = builder.build();
            let wires = (0..cluster.size()).map(|i| (format!("sim-{i}:1"), cluster.member(i).service())).collect();
            let world = World {
                cluster: Some(cluster),
                etcd: None,
                seed,
                wires,
            };
            ok(tokio::time::timeout(CASE_BOUND, case(&world)).await);
        });
    }
}

/// Runs a case on a real etcd of one member, in real time.
pub fn live(version: Version, case: impl for<'a> Fn(&'a World) -> Case<'a>) {
    live_with(Etcd::options(version), case);
}

/// [`live`] on an etcd of another kind, or of several members.
pub fn live_with(options: crate::etcd::Options, case: impl for<'a> Fn(&'a World) -> Case<'a>) {
    let runtime = ok(tokio::runtime::Builder::new_current_thread().enable_all().build());
    tokio::task::LocalSet::new().block_on(&runtime, async {
        let etcd = ok(options.start().await);
        let wires = etcd.endpoints().into_iter().map(|name| {
            let uri = format!("http://{name}");
            let endpoint = ok(tonic::transport::Endpoint::from_shared(uri)).connect_timeout(Duration::from_secs(1));
            (name, wire_from_channel(endpoint.connect_lazy()))
        });
        let world = World {
            cluster: None,
            wires: wires.collect(),
            etcd: Some(etcd),
            seed: 0,
        };
        ok(tokio::time::timeout(CASE_BOUND, case(&world)).await);
    });
}

impl World {
    /// A peer whose clock starts anywhere and drifts within what is allowed, by the seed.
    pub fn peer(&self, number: u64) -> Peer {
        self.peer_with(number, |options| options)
    }

    /// [`peer`](Self::peer) with options of its own.
    pub fn peer_with(&self, number: u64, change: impl FnOnce(ClientOptions) -> ClientOptions) -> Peer {
        self.peer_of(number, &self.wires, change)
    }

    /// A peer that knows one member only, by its index.
    pub fn peer_at(&self, number: u64, member: usize) -> Peer {
        match self.wires.get(member) {
            Some(wire) => self.peer_of(number, std::slice::from_ref(wire), |options| options),
            None => panic!("a world without member {member}"),
        }
    }

    fn peer_of(
        &self,
        number: u64,
        wires: &[(String, Wire)],
        change: impl FnOnce(ClientOptions) -> ClientOptions,
    ) -> Peer {
        let mixed = (self.seed.wrapping_mul(0x9e37_79b9).wrapping_add(number)).wrapping_mul(0x2545_f491_4f6c_dd1d);
        // In the real world the clock is as true as tokio's; in the other it drifts by up to ± 0.5 %, so that any
        // two differ by at most the 1 % that is promised to be borne.
        let drift = if self.cluster.is_some() { (mixed >> 40) as i64 % 5_000 * if mixed & 1 == 0 { 1 } else { -1 } } else { 0 };
        let clock = VirtualClock::new(BootTime(1_000_000_000_000 + (mixed >> 20)), drift);
        let faults = Faults::new();
        let names: Vec<_> = wires.iter().map(|(name, _)| name.clone()).collect();
        let wires = wires.iter().map(|(_, wire)| faults.wrap(wire.clone())).collect();
        let mut options = ClientOptions::new(names);
        if self.cluster.is_some() {
            options = options.seed(self.seed.wrapping_add(number));
        }
        let client = ok(Client::in_process(change(options), wires, Clock::from_virtual(clock.clone())));
        Peer { client, faults, clock }
    }

    /// A bare client on the untouched way to the first member: what a stranger does, and what is really so.
    pub fn stranger(&self) -> Raw {
        self.stranger_at(0)
    }

    /// [`stranger`](Self::stranger), by way of another member.
    pub fn stranger_at(&self, member: usize) -> Raw {
        match self.wires.get(member) {
            Some((_, wire)) => Raw::new(wire.clone()),
            None => panic!("a world without member {member}"),
        }
    }

    /// The key as etcd holds it.
    pub async fn get(&self, key: &str) -> Option<PbKeyValue> {
        let request = PbRangeRequest {
            key: key.into(),
            ..PbRangeRequest::default()
        };
        ok(self.stranger().range(request).await).kvs.into_iter().next()
    }

    /// All keys that start with `prefix`, as text.
    pub async fn keys(&self, prefix: &str) -> Vec<String> {
        let mut end = prefix.as_bytes().to_vec();
        end.push(0xff);
        let request = PbRangeRequest {
            key: prefix.into(),
            range_end: end,
            keys_only: true,
            ..PbRangeRequest::default()
        };
        let kvs = ok(self.stranger().range(request).await).kvs;
        kvs.into_iter().map(|kv| String::from_utf8_lossy(&kv.key).into_owned()).collect()
    }

    /// A stranger's write; the revision it got.
    pub async fn put(&self, key: &str, value: &str, lease: i64) -> i64 {
        let request = PbPutRequest {
            key: key.into(),
            value: value.into(),
            lease,
            ..PbPutRequest::default()
        };
        ok(self.stranger().put(request).await).header.map_or(0, |header| header.revision)
    }

    /// A stranger's delete; the revision after it.
    pub async fn delete(&self, key: &str) -> i64 {
        let request = PbDeleteRequest {
            key: key.into(),
            ..PbDeleteRequest::default()
        };
        ok(self.stranger().delete(request).await).header.map_or(0, |header| header.revision)
    }

    /// Revokes a lease behind its holder's back.
    pub async fn revoke(&self, id: i64) {
        ok(self.stranger().revoke(PbLeaseRevokeRequest { id }).await);
    }

    /// The ids of all leases, in order.
    pub async fn leases(&self) -> Vec<i64> {
        let mut ids: Vec<_> =
            ok(self.stranger().leases(PbLeaseLeasesRequest {}).await).leases.iter().map(|lease| lease.id).collect();
        ids.sort_unstable();
        ids
    }

    /// Compacts everything up to now.
    pub async fn compact(&self) {
        let revision = self.put("world/compacted", "", 0).await;
        let request = PbCompactionRequest {
            revision,
            physical: true,
        };
        ok(self.stranger().compact(request).await);
    }

    /// Lets time pass: virtual where it is, real where it must.
    pub async fn pass(&self, span: Duration) {
        tokio::time::sleep(span).await;
    }

    /// Waits until `condition` holds; panics with `what` when it does not within 15 s.
    pub async fn until(&self, what: &str, condition: impl AsyncFnMut() -> bool) {
        self.until_within(PATIENCE, what, condition).await;
    }

    /// [`until`](Self::until) with a bound of its own. Returns how long it took.
    pub async fn until_within(&self, bound: Duration, what: &str, mut condition: impl AsyncFnMut() -> bool) -> Duration {
        let started = tokio::time::Instant::now();
        while !condition().await {
            assert!(started.elapsed() < bound, "not within {bound:?}: {what}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        started.elapsed()
    }
}

/// Makes the tests of one case that is seen in both worlds: `both_worlds!(case, simulated_test, live_test on V3_7)`.
#[macro_export]
macro_rules! both_worlds {
    ($case:ident, $simulated:ident, $live:ident on $version:ident) => {
        #[test]
        fn $simulated() {
            $crate::world::simulated(|world| Box::pin($case(world)));
        }

        #[test]
        fn $live() {
            $crate::world::live($crate::etcd::Version::$version, |world| Box::pin($case(world)));
        }
    };
}
