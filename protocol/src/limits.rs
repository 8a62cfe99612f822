//! Every maximum, with its reason. A decoder refuses before it allocates.

/// Bytes of one frame's header: 16 tensors of rank 8 with the longest names take under 3 KiB, the rest is room.
pub const MAX_FRAME_HEADER: usize = 16 * 1024;
/// Bytes of one frame's tensor payload: a 64 MiB batch is 4096 inputs of 1×4096 f32.
pub const MAX_FRAME_PAYLOAD: usize = 64 * 1024 * 1024;
/// Tensors in one frame: a model with more inputs packs them.
pub const MAX_TENSORS: usize = 16;
/// Dimensions of one tensor: batch, time, two or three of space, channels, heads.
pub const MAX_RANK: usize = 8;
/// Bytes of one question of the control plane: the longest, a hello, takes under 300.
pub const MAX_CONTROL_REQUEST: usize = 4 * 1024;
/// Bytes of one answer of the control plane: 16 descriptors of 64 KiB, and 4 KiB for their signatures and lengths.
pub const MAX_CONTROL_MESSAGE: usize = 1024 * 1024 + 4 * 1024;
/// Bytes of one descriptor without its signature: 4096 labels of 12 bytes and all centroids take 61 KiB.
pub const MAX_DESCRIPTOR: usize = 64 * 1024;
/// Descriptors in one answer to `DescribeExperts`: experts that one peer serves in one subnet.
pub const MAX_DESCRIPTORS: usize = 16;
/// Centroids one expert may claim: a specialist needs few, and each costs every router a comparison per input.
pub const MAX_CENTROIDS: usize = 8;
/// Dimensions of a feature vector: principal components beyond it carry noise.
pub const MAX_FEATURES: usize = 256;
/// Classes of a classification schema: one f32 row of answers is then 16 KiB.
pub const MAX_CLASSES: usize = 4096;
/// Data-plane addresses in a descriptor: each may cost a router one failed dial.
pub const MAX_ADDRESSES: usize = 8;
/// Bytes of a network id or subnet name: they stand in protocol ids, topics and DHT keys.
pub const MAX_NAME: usize = 32;
/// Bytes of free text (expert names, agents, reasons, class labels): one line for people.
pub const MAX_TEXT: usize = 128;
/// Bytes of one gossip message: the longest heartbeat takes under 1 KiB, and everybody carries all of them.
pub const MAX_GOSSIP: usize = 4 * 1024;
/// Longest life of a descriptor in milliseconds (5 minutes): a dead expert must fade by itself.
pub const MAX_DESCRIPTOR_LIFE_MS: u64 = 5 * 60 * 1000;
/// Clock difference between two peers that is forgiven, in milliseconds.
pub const MAX_CLOCK_SKEW_MS: u64 = 30 * 1000;
/// Bytes of a serialized feature map: 256 components over 64×64 inputs is 4 MiB.
pub const MAX_FEATURE_MAP: usize = 8 * 1024 * 1024;
/// Bytes of the file of a published checkpoint: a model of 16 million f32 parameters, still fetched in seconds; an auditor
/// keeps the whole file in memory.
pub const MAX_CHECKPOINT: usize = 64 * 1024 * 1024;
/// Bytes of one piece of it: a stream's flow-control window holds eight.
pub const MAX_CHUNK: usize = 1024 * 1024;
/// Control-plane versions in one `Hello`.
pub const MAX_VERSIONS: usize = 16;
/// Subnets in one heartbeat.
pub const MAX_SUBNETS: usize = 16;
/// Regions that a feature map may cut its space into: a router asks the DHT about each.
pub const MAX_REGIONS: usize = 64;
/// Height or width of a feature map's input.
pub const MAX_SIDE: u32 = 4096;
