//! Owns etcd's error answers, code and text as its clients see them.
//! Leaves to the callers when each of them is given.

use tonic::{Code, Status};

macro_rules! refusals {
    ($($name:ident = $code:ident $text:literal;)*) => {
        $(pub(crate) fn $name() -> Status { Status::new(Code::$code, concat!("etcdserver: ", $text)) })*
    };
}

refusals! {
    empty_key = InvalidArgument "key is not provided";
    key_not_found = InvalidArgument "key not found";
    value_provided = InvalidArgument "value is provided";
    lease_provided = InvalidArgument "lease is provided";
    too_many_ops = InvalidArgument "too many operations in txn request";
    duplicate_key = InvalidArgument "duplicate key given in txn request";
    invalid_sort = InvalidArgument "invalid sort option";
    compacted = OutOfRange "mvcc: required revision has been compacted";
    future_revision = OutOfRange "mvcc: required revision is a future revision";
    lease_not_found = NotFound "requested lease not found";
    lease_exists = FailedPrecondition "lease already exists";
    lease_too_large = OutOfRange "too large lease TTL";
    too_large = InvalidArgument "request is too large";
    root_user_missing = FailedPrecondition "root user does not exist";
    root_role_missing = FailedPrecondition "root user does not have root role";
    user_exists = FailedPrecondition "user name already exists";
    user_empty = InvalidArgument "user name is empty";
    user_not_found = FailedPrecondition "user name not found";
    role_exists = FailedPrecondition "role name already exists";
    role_not_found = FailedPrecondition "role name not found";
    role_empty = InvalidArgument "role name is empty";
    auth_failed = InvalidArgument "authentication failed, invalid user ID or password";
    permission_not_given = InvalidArgument "permission not given";
    permission_denied = PermissionDenied "permission denied";
    role_not_granted = FailedPrecondition "role is not granted to the user";
    permission_not_granted = FailedPrecondition "permission is not granted to the role";
    auth_not_enabled = FailedPrecondition "authentication is not enabled";
    invalid_token = Unauthenticated "invalid auth token";
    invalid_management = InvalidArgument "invalid auth management";
    no_leader = Unavailable "no leader";
    leader_changed = Unavailable "leader changed";
    timed_out = Unavailable "request timed out";
    member_not_found = NotFound "member not found";
}
