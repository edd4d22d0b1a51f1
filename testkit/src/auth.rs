//! Owns users, roles, permissions and simple tokens, which live per member from their last use on it.
//! Leaves to the services which call asks for which permission, and to `service/auth` the RPCs.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use etcd_client::proto::{PbPutRequest, PbTxnOpRequest, PbTxnRequest, PbTxnRequestOp};
use tonic::Status;

use crate::refusal;
use crate::store::{Interval, Store};
use crate::version::Version;

/// etcd's user and role that may do everything.
pub(crate) const ROOT: &str = "root";

/// What a permission allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Reads and compares.
    Read,
    /// Puts and deletes.
    Write,
    /// Both.
    ReadWrite,
}

/// One permission of a role, over a key or an interval (`range_end` as in a range request).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Permission {
    pub(crate) access: Access,
    pub(crate) key: Vec<u8>,
    pub(crate) range_end: Vec<u8>,
}

impl Permission {
    fn gives(&self, wanted: Access) -> bool {
        self.access == Access::ReadWrite || self.access == wanted
    }
}

#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) password: String,
    pub(crate) roles: BTreeSet<String>,
}

/// Who makes a call: nobody when auth is off or no token came with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Caller(pub(crate) Option<String>);

/// The auth store of a cluster.
#[derive(Clone, Debug)]
pub(crate) struct Auth {
    pub(crate) enabled: bool,
    pub(crate) revision: u64,
    pub(crate) users: BTreeMap<String, User>,
    pub(crate) roles: BTreeMap<String, Vec<Permission>>,
    token_ttl: Duration,
    version: Version,
    /// Token to user, and for each member when the token dies there.
    tokens: BTreeMap<String, (String, Vec<Duration>)>,
    tokens_given: u64,
}

impl Auth {
    pub(crate) fn new(token_ttl: Duration, version: Version) -> Self {
        Auth {
            enabled: false,
            revision: 1,
            users: BTreeMap::new(),
            roles: BTreeMap::new(),
            token_ttl,
            version,
            tokens: BTreeMap::new(),
            tokens_given: 0,
        }
    }

    pub(crate) fn enable(&mut self) -> Result<(), Status> {
        let root = self
            .users
            .get(ROOT)
            .ok_or_else(refusal::root_user_missing)?;
        if !root.roles.contains(ROOT) {
            return Err(refusal::root_role_missing());
        }
        self.enabled = true;
        self.revision += 1;
        Ok(())
    }

    pub(crate) fn disable(&mut self) {
        self.enabled = false;
        self.revision += 1;
        self.tokens.clear();
    }

    /// Gives a token, good on every member from now on.
    pub(crate) fn authenticate(
        &mut self,
        user: &str,
        password: &str,
        members: usize,
        now: Duration,
    ) -> Result<String, Status> {
        if !self.enabled {
            return Err(refusal::auth_not_enabled());
        }
        if self
            .users
            .get(user)
            .is_none_or(|known| known.password != password)
        {
            return Err(refusal::auth_failed());
        }
        self.tokens_given += 1;
        let token = format!("testkitTokenOfUs.{}", self.tokens_given);
        self.tokens.insert(
            token.clone(),
            (user.to_owned(), vec![now + self.token_ttl; members]),
        );
        Ok(token)
    }

    /// Who a token belongs to on this member; a good one lives on from here.
    pub(crate) fn caller(
        &mut self,
        token: Option<&str>,
        member: usize,
        now: Duration,
    ) -> Result<Caller, Status> {
        let Some(token) = token else {
            return Ok(Caller(None));
        };
        if !self.enabled && !self.version.refuses_tokens_while_off() {
            return Ok(Caller(None));
        }
        let (user, dies) = self
            .tokens
            .get_mut(token)
            .ok_or_else(refusal::invalid_token)?;
        let dies = dies.get_mut(member).ok_or_else(refusal::invalid_token)?;
        if *dies <= now {
            return Err(refusal::invalid_token());
        }
        *dies = now + self.token_ttl;
        Ok(Caller(Some(user.clone())))
    }

    /// Ends the tokens of a user (changed password, deleted user).
    pub(crate) fn forget_tokens_of(&mut self, user: &str) {
        self.tokens.retain(|_, (owner, _)| owner != user);
    }

    /// Ends every token on every member.
    pub(crate) fn forget_tokens(&mut self) {
        self.tokens.clear();
    }

    /// Refuses a call without a user.
    pub(crate) fn need_user(&self, caller: &Caller) -> Result<(), Status> {
        if self.enabled && caller.0.is_none() {
            Err(refusal::user_empty())
        } else {
            Ok(())
        }
    }

    /// Refuses everybody but those with the root role.
    pub(crate) fn need_admin(&self, caller: &Caller) -> Result<(), Status> {
        if !self.enabled {
            return Ok(());
        }
        let name = caller.0.as_ref().ok_or_else(refusal::user_empty)?;
        let user = self.users.get(name).ok_or_else(refusal::user_not_found)?;
        if user.roles.contains(ROOT) {
            Ok(())
        } else {
            Err(refusal::permission_denied())
        }
    }

    fn allows(
        &self,
        caller: &Caller,
        wanted: Access,
        key: &[u8],
        range_end: &[u8],
    ) -> Result<(), Status> {
        if !self.enabled {
            return Ok(());
        }
        let name = caller.0.as_ref().ok_or_else(refusal::user_empty)?;
        let user = self
            .users
            .get(name)
            .ok_or_else(refusal::permission_denied)?;
        if user.roles.contains(ROOT) {
            return Ok(());
        }
        let given: Vec<Interval> = user
            .roles
            .iter()
            .filter_map(|role| self.roles.get(role))
            .flatten()
            .filter(|permission| permission.gives(wanted))
            .map(|permission| Interval::new(&permission.key, &permission.range_end))
            .collect();
        if covered(&given, key, range_end) {
            Ok(())
        } else {
            Err(refusal::permission_denied())
        }
    }

    pub(crate) fn may_read(
        &self,
        caller: &Caller,
        key: &[u8],
        range_end: &[u8],
    ) -> Result<(), Status> {
        self.allows(caller, Access::Read, key, range_end)
    }

    pub(crate) fn may_delete(
        &self,
        caller: &Caller,
        key: &[u8],
        range_end: &[u8],
        prev_kv: bool,
    ) -> Result<(), Status> {
        self.allows(caller, Access::Write, key, range_end)?;
        if prev_kv {
            self.may_read(caller, key, range_end)
        } else {
            Ok(())
        }
    }

    pub(crate) fn may_put(
        &self,
        caller: &Caller,
        request: &PbPutRequest,
        store: &Store,
    ) -> Result<(), Status> {
        self.allows(caller, Access::Write, &request.key, &[])?;
        self.may_write_lease(caller, request.lease, store)?;
        if request.prev_kv {
            self.may_read(caller, &request.key, &[])
        } else {
            Ok(())
        }
    }

    /// Who ends or renews a lease must be allowed to write all its keys.
    pub(crate) fn may_write_lease(
        &self,
        caller: &Caller,
        lease: i64,
        store: &Store,
    ) -> Result<(), Status> {
        if self.need_admin(caller).is_ok() {
            return Ok(());
        }
        store
            .keys_of(lease)
            .iter()
            .try_for_each(|key| self.allows(caller, Access::Write, key, &[]))
    }

    pub(crate) fn may_read_lease(
        &self,
        caller: &Caller,
        lease: i64,
        store: &Store,
    ) -> Result<(), Status> {
        if self.need_admin(caller).is_ok() {
            return Ok(());
        }
        store
            .keys_of(lease)
            .iter()
            .try_for_each(|key| self.may_read(caller, key, &[]))
    }

    /// Both branches count, taken or not, and a compare is a read.
    pub(crate) fn may_txn(
        &self,
        caller: &Caller,
        txn: &PbTxnRequest,
        store: &Store,
    ) -> Result<(), Status> {
        for compare in &txn.compare {
            self.may_read(caller, &compare.key, &compare.range_end)?;
        }
        txn.success
            .iter()
            .chain(&txn.failure)
            .try_for_each(|op| self.may_op(caller, op, store))
    }

    fn may_op(&self, caller: &Caller, op: &PbTxnRequestOp, store: &Store) -> Result<(), Status> {
        match &op.request {
            Some(PbTxnOpRequest::RequestRange(request)) => {
                self.may_read(caller, &request.key, &request.range_end)
            }
            Some(PbTxnOpRequest::RequestPut(request)) => self.may_put(caller, request, store),
            Some(PbTxnOpRequest::RequestDeleteRange(request)) => {
                self.may_delete(caller, &request.key, &request.range_end, request.prev_kv)
            }
            Some(PbTxnOpRequest::RequestTxn(nested)) if self.version.checks_nested() => {
                self.may_txn(caller, nested, store)
            }
            Some(PbTxnOpRequest::RequestTxn(_)) | None => Ok(()),
        }
    }
}

/// Whether the given intervals, taken together, cover the wanted one.
fn covered(given: &[Interval], key: &[u8], range_end: &[u8]) -> bool {
    let wanted = Interval::new(key, range_end);
    if let Interval::One(key) = &wanted {
        return given.iter().any(|interval| interval.contains(key));
    }
    let mut at = key.to_vec();
    loop {
        // The furthest end of what covers `at`; None: everything from there on.
        let mut furthest: Option<Vec<u8>> = None;
        for interval in given.iter().filter(|interval| interval.contains(&at)) {
            match interval {
                Interval::From(_) => return true,
                Interval::Between(_, end) => furthest = furthest.max(Some(end.clone())),
                Interval::One(key) => {
                    let mut after = key.clone();
                    after.push(0);
                    furthest = furthest.max(Some(after));
                }
            }
        }
        let Some(reached) = furthest.filter(|reached| *reached > at) else {
            return false;
        };
        if let Interval::Between(_, end) = &wanted
            && reached >= *end
        {
            return true;
        }
        at = reached;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_cover_together() {
        let given = [
            Interval::new(b"a", b"c"),
            Interval::new(b"c", b"e"),
            Interval::new(b"x", b""),
        ];
        assert!(covered(&given, b"a", b"e"));
        assert!(covered(&given, b"b", b"d"));
        assert!(!covered(&given, b"b", b"f"));
        assert!(covered(&given, b"x", b""));
        assert!(!covered(&given, b"y", b""));
        assert!(!covered(&given, b"a", &[0]));
        assert!(covered(&[Interval::new(b"a", &[0])], b"b", &[0]));
    }

    #[test]
    fn a_token_dies_on_the_member_where_it_is_not_used() {
        let mut auth = Auth::new(Duration::from_secs(3), Version::V3_7);
        auth.users.insert(
            ROOT.to_owned(),
            User {
                password: "p".to_owned(),
                roles: BTreeSet::from([ROOT.to_owned()]),
            },
        );
        assert!(auth.enable().is_ok());
        let second = Duration::from_secs(1);
        let token = auth.authenticate(ROOT, "p", 2, second).unwrap_or_default();
        assert!(auth.caller(Some(&token), 0, 2 * second).is_ok());
        assert!(auth.caller(Some(&token), 0, 4 * second).is_ok());
        assert!(auth.caller(Some(&token), 1, 4 * second).is_err());
        assert!(
            auth.caller(None, 0, second)
                .is_ok_and(|caller| caller.0.is_none())
        );
    }
}
