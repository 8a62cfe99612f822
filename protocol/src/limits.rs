//! Every maximum, with its reason. A decoder refuses before it allocates.

/// Bytes of one frame's bincode header: 16 tensors of rank 8 need under 1 KiB, the rest is room.
pub const MAX_FRAME_HEADER: usize = 16 * 1024;
/// Bytes of one frame's tensor payload: a 64 MiB batch is 4096 inputs of 1×4096 f32.
pub const MAX_FRAME_PAYLOAD: usize = 64 * 1024 * 1024;
/// Tensors in one frame.
pub const MAX_TENSORS: usize = 16;
/// Dimensions of one tensor.
pub const MAX_RANK: usize = 8;
/// Bytes of one control-plane message: 16 descriptors of at most 64 KiB each would be 1 MiB.
pub const MAX_CONTROL_MESSAGE: usize = 1024 * 1024;
/// Bytes of one signed descriptor.
pub const MAX_DESCRIPTOR: usize = 64 * 1024;
/// Descriptors in one answer to `DescribeExperts`.
pub const MAX_DESCRIPTORS: usize = 16;
/// Centroids one expert may claim.
pub const MAX_CENTROIDS: usize = 8;
/// Dimensions of a feature vector.
pub const MAX_FEATURES: usize = 256;
/// Classes of a classification schema.
pub const MAX_CLASSES: usize = 4096;
/// Data-plane addresses in a descriptor.
pub const MAX_ADDRESSES: usize = 8;
/// Bytes of a network id or subnet name.
pub const MAX_NAME: usize = 32;
/// Bytes of free text (expert names, agents, reasons, class labels).
pub const MAX_TEXT: usize = 128;
/// Bytes of one gossip message.
pub const MAX_GOSSIP: usize = 4 * 1024;
/// Longest life of a descriptor in milliseconds (5 minutes): a dead expert must fade by itself.
pub const MAX_DESCRIPTOR_LIFE_MS: u64 = 5 * 60 * 1000;
/// Clock difference between two peers that is forgiven, in milliseconds.
pub const MAX_CLOCK_SKEW_MS: u64 = 30 * 1000;
/// Bytes of a serialized feature map: 256 components over 64×64 inputs is 4 MiB.
pub const MAX_FEATURE_MAP: usize = 8 * 1024 * 1024;
