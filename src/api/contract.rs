//! Reads the descriptors of the contract: its RPCs and their options.

use std::sync::LazyLock;

use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor, ServiceDescriptor, Value};

use super::proto::{FILE_DESCRIPTOR_SET, testing};

const SERVICE: &str = "contact.v1.ContactService";

/// The descriptors of the contract. Empty if they cannot be decoded, which the tests rule out: then no
/// RPC has a scope, and none is served.
pub(super) static DESCRIPTORS: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(FILE_DESCRIPTOR_SET).unwrap_or_default());

/// Returns the RPCs of the contract.
pub(super) fn rpcs() -> Vec<MethodDescriptor> {
    let service = DESCRIPTORS.get_service_by_name(SERVICE);
    let methods = service.iter().flat_map(ServiceDescriptor::methods);
    methods.collect()
}

/// Returns all RPCs by their names, such as `contact.v1.ContactService/GetContact`.
pub fn methods() -> Vec<String> {
    rpcs().iter().map(method).collect()
}

/// Returns the RPC with a name such as `GetContact`.
pub(super) fn rpc(name: &str) -> Option<MethodDescriptor> {
    rpcs().into_iter().find(|rpc| rpc.name() == name)
}

/// Returns the RPCs of test servers.
pub(super) fn testing_rpcs() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(testing::FILE_DESCRIPTOR_SET).unwrap_or_default();
    let rpcs = pool.services().flat_map(|service| {
        let rpcs: Vec<_> = service.methods().collect();
        rpcs
    });
    rpcs.collect()
}

/// Returns the name of an RPC with its service, such as `contact.v1.ContactService/GetContact`.
pub(super) fn method(rpc: &MethodDescriptor) -> String {
    format!("{}/{}", rpc.parent_service().full_name(), rpc.name())
}

/// Returns the path of an RPC, such as `/contact.v1.ContactService/GetContact`.
pub(super) fn path(rpc: &MethodDescriptor) -> String {
    format!("/{}", method(rpc))
}

/// Returns a text option of an RPC, such as `required_scope`; `None` where it is absent.
pub(super) fn text_option(rpc: &MethodDescriptor, option: &str) -> Option<String> {
    let extension = DESCRIPTORS.get_extension_by_name(&format!("contact.v1.{option}"))?;
    let options: DynamicMessage = rpc.options();
    if !options.has_extension(&extension) {
        return None;
    }
    let value: Value = options.get_extension(&extension).into_owned();
    value.as_str().map(str::to_owned)
}
