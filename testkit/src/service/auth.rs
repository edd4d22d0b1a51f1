//! Owns the auth service: users, roles, permissions, `Authenticate`.
//! Written by hand because the client crate does not export one of its message types; the store is `crate::auth`.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use etcd_client::proto::{
    PbAuthDisableRequest, PbAuthDisableResponse, PbAuthEnableRequest, PbAuthEnableResponse,
    PbAuthRoleAddRequest, PbAuthRoleAddResponse, PbAuthRoleDeleteRequest, PbAuthRoleDeleteResponse,
    PbAuthRoleGrantPermissionRequest, PbAuthRoleGrantPermissionResponse, PbAuthRoleListRequest,
    PbAuthRoleListResponse, PbAuthRoleRevokePermissionRequest, PbAuthRoleRevokePermissionResponse,
    PbAuthUserAddRequest, PbAuthUserAddResponse, PbAuthUserChangePasswordRequest,
    PbAuthUserChangePasswordResponse, PbAuthUserDeleteRequest, PbAuthUserDeleteResponse,
    PbAuthUserGetRequest, PbAuthUserGetResponse, PbAuthUserGrantRoleRequest,
    PbAuthUserGrantRoleResponse, PbAuthUserListRequest, PbAuthUserListResponse,
    PbAuthUserRevokeRoleRequest, PbAuthUserRevokeRoleResponse, PbAuthenticateRequest,
    PbAuthenticateResponse, PbResponseHeader,
};
use tonic::body::Body;
use tonic::server::NamedService;
use tonic::{Request, Response, Status};

use super::{Meta, Service, filled};
use crate::auth::{Access, Auth, Permission, ROOT, User};
use crate::refusal;

/// `AuthStatus`' messages, which the client crate has but does not export.
#[derive(Clone, PartialEq, prost::Message)]
struct AuthStatusRequest {}

#[derive(Clone, PartialEq, prost::Message)]
struct AuthStatusResponse {
    #[prost(message, optional, tag = "1")]
    header: Option<PbResponseHeader>,
    #[prost(bool, tag = "2")]
    enabled: bool,
    #[prost(uint64, tag = "3")]
    auth_revision: u64,
}

/// The auth service of one member.
#[derive(Clone, Debug)]
pub(super) struct AuthServer(Service);

impl AuthServer {
    pub(super) fn new(service: Service) -> Self {
        AuthServer(service)
    }
}

impl NamedService for AuthServer {
    const NAME: &'static str = "etcdserverpb.Auth";
}

type Answering = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

/// Decodes, lets `change` work on the auth store as one proposal, encodes. `admin`: only root's role may.
fn change<A, B>(
    service: &Service,
    rpc: &'static str,
    admin: bool,
    request: http::Request<Body>,
    change: impl FnOnce(&mut Auth, A, Option<PbResponseHeader>, &Call) -> Result<B, Status>
    + Clone
    + Send
    + Sync
    + 'static,
) -> Answering
where
    A: prost::Message + Default + Send + 'static,
    B: prost::Message + Send + 'static,
{
    let service = service.clone();
    Box::pin(async move {
        let handler = tower::service_fn(move |request: Request<A>| {
            let (service, change) = (service.clone(), change.clone());
            async move {
                service.count(rpc);
                let (member, meta) = (service.member, Meta::of(&request));
                let request = request.into_inner();
                let work = move |state: &mut crate::state::State, now| {
                    // `Authenticate` is what a client with a dead token calls.
                    let token = if admin { meta.token.as_deref() } else { None };
                    let caller = state.auth.caller(token, member, now)?;
                    if admin {
                        state.auth.need_admin(&caller)?;
                    }
                    let header = filled(state, member, None);
                    let call = Call {
                        members: state.members.len(),
                        now,
                    };
                    change(&mut state.auth, request, header, &call)
                };
                let waiting = service.waiting(crate::state::Need::Write, &Meta::default());
                service.shared.write(waiting, work).await.map(Response::new)
            }
        });
        let mut grpc = tonic::server::Grpc::new(tonic_prost::ProstCodec::<B, A>::default());
        Ok(grpc.unary(handler, request).await)
    })
}

/// What a change of the auth store may need to know.
struct Call {
    members: usize,
    now: std::time::Duration,
}

impl tower::Service<http::Request<Body>> for AuthServer {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, http: http::Request<Body>) -> Answering {
        let service = &self.0;
        let path = http
            .uri()
            .path()
            .rsplit('/')
            .next()
            .unwrap_or_default()
            .to_owned();
        match path.as_str() {
            "Authenticate" => change(
                service,
                "Authenticate",
                false,
                http,
                |auth, r: PbAuthenticateRequest, header, call| {
                    let token = auth.authenticate(&r.name, &r.password, call.members, call.now)?;
                    Ok(PbAuthenticateResponse { header, token })
                },
            ),
            "AuthEnable" => change(
                service,
                "AuthEnable",
                true,
                http,
                |auth, _: PbAuthEnableRequest, header, _| {
                    auth.enable().map(|()| PbAuthEnableResponse { header })
                },
            ),
            "AuthDisable" => change(
                service,
                "AuthDisable",
                true,
                http,
                |auth, _: PbAuthDisableRequest, header, _| {
                    auth.disable();
                    Ok(PbAuthDisableResponse { header })
                },
            ),
            "AuthStatus" => change(
                service,
                "AuthStatus",
                true,
                http,
                |auth, _: AuthStatusRequest, header, _| {
                    Ok(AuthStatusResponse {
                        header,
                        enabled: auth.enabled,
                        auth_revision: auth.revision,
                    })
                },
            ),
            "UserAdd" => change(
                service,
                "UserAdd",
                true,
                http,
                |auth, r: PbAuthUserAddRequest, header, _| {
                    auth.add_user(r.name, r.password)
                        .map(|()| PbAuthUserAddResponse { header })
                },
            ),
            "UserGet" => change(
                service,
                "UserGet",
                true,
                http,
                |auth, r: PbAuthUserGetRequest, header, _| {
                    let roles = auth.user(&r.name)?.roles.iter().cloned().collect();
                    Ok(PbAuthUserGetResponse { header, roles })
                },
            ),
            "UserList" => change(
                service,
                "UserList",
                true,
                http,
                |auth, _: PbAuthUserListRequest, header, _| {
                    Ok(PbAuthUserListResponse {
                        header,
                        users: auth.users.keys().cloned().collect(),
                    })
                },
            ),
            "UserDelete" => change(
                service,
                "UserDelete",
                true,
                http,
                |auth, r: PbAuthUserDeleteRequest, header, _| {
                    auth.delete_user(&r.name)
                        .map(|()| PbAuthUserDeleteResponse { header })
                },
            ),
            "UserChangePassword" => change(
                service,
                "UserChangePassword",
                true,
                http,
                |auth, r: PbAuthUserChangePasswordRequest, header, _| {
                    auth.change_password(&r.name, r.password)
                        .map(|()| PbAuthUserChangePasswordResponse { header })
                },
            ),
            "UserGrantRole" => change(
                service,
                "UserGrantRole",
                true,
                http,
                |auth, r: PbAuthUserGrantRoleRequest, header, _| {
                    auth.grant_role(&r.user, r.role)
                        .map(|()| PbAuthUserGrantRoleResponse { header })
                },
            ),
            "UserRevokeRole" => change(
                service,
                "UserRevokeRole",
                true,
                http,
                |auth, r: PbAuthUserRevokeRoleRequest, header, _| {
                    auth.revoke_role(&r.name, &r.role)
                        .map(|()| PbAuthUserRevokeRoleResponse { header })
                },
            ),
            "RoleAdd" => change(
                service,
                "RoleAdd",
                true,
                http,
                |auth, r: PbAuthRoleAddRequest, header, _| {
                    auth.add_role(r.name)
                        .map(|()| PbAuthRoleAddResponse { header })
                },
            ),
            "RoleList" => change(
                service,
                "RoleList",
                true,
                http,
                |auth, _: PbAuthRoleListRequest, header, _| {
                    Ok(PbAuthRoleListResponse {
                        header,
                        roles: auth.roles.keys().cloned().collect(),
                    })
                },
            ),
            "RoleDelete" => change(
                service,
                "RoleDelete",
                true,
                http,
                |auth, r: PbAuthRoleDeleteRequest, header, _| {
                    auth.delete_role(&r.role)
                        .map(|()| PbAuthRoleDeleteResponse { header })
                },
            ),
            "RoleGrantPermission" => change(
                service,
                "RoleGrantPermission",
                true,
                http,
                |auth, r: PbAuthRoleGrantPermissionRequest, header, _| {
                    let perm = r.perm.ok_or_else(refusal::permission_not_given)?;
                    let access = match perm.perm_type {
                        0 => Access::Read,
                        1 => Access::Write,
                        _ => Access::ReadWrite,
                    };
                    let permission = Permission {
                        access,
                        key: perm.key,
                        range_end: perm.range_end,
                    };
                    auth.grant_permission(&r.name, permission)
                        .map(|()| PbAuthRoleGrantPermissionResponse { header })
                },
            ),
            "RoleRevokePermission" => change(
                service,
                "RoleRevokePermission",
                true,
                http,
                |auth, r: PbAuthRoleRevokePermissionRequest, header, _| {
                    auth.revoke_permission(&r.role, &r.key, &r.range_end)
                        .map(|()| PbAuthRoleRevokePermissionResponse { header })
                },
            ),
            other => {
                let status = Status::unimplemented(format!("the test server has no Auth/{other}"));
                Box::pin(async move { Ok(status.into_http()) })
            }
        }
    }
}

/// The changes an administrator makes.
impl Auth {
    fn user(&self, name: &str) -> Result<&User, Status> {
        self.users.get(name).ok_or_else(refusal::user_not_found)
    }

    pub(crate) fn add_user(&mut self, name: String, password: String) -> Result<(), Status> {
        if name.is_empty() {
            return Err(refusal::user_empty());
        }
        if self.users.contains_key(&name) {
            return Err(refusal::user_exists());
        }
        self.users.insert(
            name,
            User {
                password,
                roles: BTreeSet::new(),
            },
        );
        self.revision += 1;
        Ok(())
    }

    fn delete_user(&mut self, name: &str) -> Result<(), Status> {
        if self.enabled && name == ROOT {
            return Err(refusal::invalid_management());
        }
        self.users
            .remove(name)
            .ok_or_else(refusal::user_not_found)?;
        self.forget_tokens_of(name);
        self.revision += 1;
        Ok(())
    }

    pub(crate) fn change_password(&mut self, name: &str, password: String) -> Result<(), Status> {
        self.users
            .get_mut(name)
            .ok_or_else(refusal::user_not_found)?
            .password = password;
        self.forget_tokens_of(name);
        self.revision += 1;
        Ok(())
    }

    pub(crate) fn grant_role(&mut self, name: &str, role: String) -> Result<(), Status> {
        let known = role == ROOT || self.roles.contains_key(&role);
        let user = self
            .users
            .get_mut(name)
            .ok_or_else(refusal::user_not_found)?;
        if !known {
            return Err(refusal::role_not_found());
        }
        user.roles.insert(role);
        self.revision += 1;
        Ok(())
    }

    fn revoke_role(&mut self, name: &str, role: &str) -> Result<(), Status> {
        if self.enabled && name == ROOT && role == ROOT {
            return Err(refusal::invalid_management());
        }
        let user = self
            .users
            .get_mut(name)
            .ok_or_else(refusal::user_not_found)?;
        if !user.roles.remove(role) {
            return Err(refusal::role_not_granted());
        }
        self.revision += 1;
        Ok(())
    }

    pub(crate) fn add_role(&mut self, name: String) -> Result<(), Status> {
        if name.is_empty() {
            return Err(refusal::role_empty());
        }
        if self.roles.contains_key(&name) {
            return Err(refusal::role_exists());
        }
        self.roles.insert(name, Vec::new());
        self.revision += 1;
        Ok(())
    }

    fn delete_role(&mut self, name: &str) -> Result<(), Status> {
        if self.enabled && name == ROOT {
            return Err(refusal::invalid_management());
        }
        self.roles
            .remove(name)
            .ok_or_else(refusal::role_not_found)?;
        self.users.values_mut().for_each(|user| {
            user.roles.remove(name);
        });
        self.revision += 1;
        Ok(())
    }

    pub(crate) fn grant_permission(
        &mut self,
        role: &str,
        permission: Permission,
    ) -> Result<(), Status> {
        let permissions = self
            .roles
            .get_mut(role)
            .ok_or_else(refusal::role_not_found)?;
        permissions
            .retain(|held| held.key != permission.key || held.range_end != permission.range_end);
        permissions.push(permission);
        self.revision += 1;
        Ok(())
    }

    fn revoke_permission(
        &mut self,
        role: &str,
        key: &[u8],
        range_end: &[u8],
    ) -> Result<(), Status> {
        let permissions = self
            .roles
            .get_mut(role)
            .ok_or_else(refusal::role_not_found)?;
        let before = permissions.len();
        permissions.retain(|held| held.key != key || held.range_end != range_end);
        if permissions.len() == before {
            return Err(refusal::permission_not_granted());
        }
        self.revision += 1;
        Ok(())
    }
}
