//! Which descriptors are believed.

use std::net::SocketAddr;

use glia_protocol::codec;
use glia_protocol::descriptor::{Centroid, DescriptorError, ExpertDescriptor, SignedDescriptor};
use glia_protocol::limits::{MAX_CLOCK_SKEW_MS, MAX_CONTROL_MESSAGE, MAX_DESCRIPTOR_LIFE_MS};
use glia_protocol::schema::Task;
use glia_protocol::tensor::DType;
use glia_protocol::testing::{self, HotKey, PeerKey};

use crate::samples::{NOW_MS, hotkey, network, peer};

fn good() -> ExpertDescriptor {
    testing::descriptor(&network(), &peer(), &hotkey(), NOW_MS)
}

/// What a liar sends: signed by `signer` without asking whether anybody would accept it.
fn forged(descriptor: &ExpertDescriptor, signer: &PeerKey) -> SignedDescriptor {
    let body = codec::encode("descriptor", descriptor, 1 << 20).unwrap();
    let signature = signer.sign(&[&b"glia-descriptor-v1"[..], &body].concat());
    let bytes = codec::encode("signed descriptor", &(body, signature), 1 << 20).unwrap();
    codec::decode("signed descriptor", &bytes, MAX_CONTROL_MESSAGE).unwrap()
}

fn verify(descriptor: &ExpertDescriptor) -> Result<ExpertDescriptor, DescriptorError> {
    forged(descriptor, &peer()).verify(&network(), NOW_MS)
}

#[test]
fn honest_descriptor_is_believed_until_it_expires() {
    let descriptor = good();
    assert_eq!(verify(&descriptor).unwrap(), descriptor);
    let signed = descriptor.sign(|message| peer().sign(message)).unwrap();
    assert_eq!(signed, forged(&descriptor, &peer()), "the domain of the signature moved");
    assert!(signed.verify(&network(), descriptor.expires_at_ms - 1).is_ok());
    let error = signed.verify(&network(), descriptor.expires_at_ms).unwrap_err();
    assert_eq!(error, DescriptorError::Expired { peer: peer().id(), ago_ms: 0 });
}

#[test]
fn garbage_is_no_descriptor() {
    let bytes = codec::encode("signed descriptor", &(vec![1u8, 2, 3], [[0u8; 32]; 2]), 1000).unwrap();
    let signed: SignedDescriptor = codec::decode("signed descriptor", &bytes, 1000).unwrap();
    assert!(matches!(signed.verify(&network(), NOW_MS), Err(DescriptorError::Decode(_))));
}

#[test]
fn descriptor_of_another_network_is_refused() {
    let other = testing::network("other");
    let error = forged(&good(), &peer()).verify(&other, NOW_MS).unwrap_err();
    assert_eq!(error, DescriptorError::WrongNetwork { got: network(), want: other });
}

#[test]
fn descriptor_signed_by_another_peer_is_refused() {
    let error = forged(&good(), &PeerKey::from_seed(9)).verify(&network(), NOW_MS).unwrap_err();
    assert_eq!(error, DescriptorError::BadSignature(peer().id()));
}

#[test]
fn hotkey_that_did_not_consent_is_refused() {
    let mut descriptor = good();
    descriptor.hotkey = HotKey::from_seed(9).id();
    let error = verify(&descriptor).unwrap_err();
    assert_eq!(error, DescriptorError::BadBinding { peer: peer().id(), hotkey: descriptor.hotkey });
}

#[test]
fn binding_of_another_peer_is_refused() {
    let mut descriptor = good();
    descriptor.binding = testing::bind(&network(), &PeerKey::from_seed(9), &hotkey());
    assert!(matches!(verify(&descriptor), Err(DescriptorError::BadBinding { .. })));
}

#[test]
fn expired_descriptor_is_refused() {
    let mut descriptor = good();
    (descriptor.issued_at_ms, descriptor.expires_at_ms) = (NOW_MS - 10_000, NOW_MS - 5_000);
    assert_eq!(verify(&descriptor), Err(DescriptorError::Expired { peer: peer().id(), ago_ms: 5_000 }));
}

#[test]
fn impossible_lifetime_is_refused() {
    let times = [
        (NOW_MS, NOW_MS),
        (NOW_MS, NOW_MS - 1),
        (NOW_MS, NOW_MS + MAX_DESCRIPTOR_LIFE_MS + 1),
        (NOW_MS + MAX_CLOCK_SKEW_MS + 1, NOW_MS + MAX_CLOCK_SKEW_MS + 1000),
        (u64::MAX - 1, u64::MAX),
        (0, u64::MAX),
    ];
    for (issued, expires) in times {
        let mut descriptor = good();
        (descriptor.issued_at_ms, descriptor.expires_at_ms) = (issued, expires);
        assert_eq!(verify(&descriptor), Err(DescriptorError::BadLifetime(peer().id())), "{issued}..{expires}");
    }
    for (issued, expires) in
        [(NOW_MS + MAX_CLOCK_SKEW_MS, NOW_MS + MAX_CLOCK_SKEW_MS + 1), (NOW_MS, NOW_MS + MAX_DESCRIPTOR_LIFE_MS)]
    {
        let mut descriptor = good();
        (descriptor.issued_at_ms, descriptor.expires_at_ms) = (issued, expires);
        assert!(verify(&descriptor).is_ok(), "{issued}..{expires}");
    }
}

#[test]
fn descriptor_is_accepted_from_its_author_only() {
    let server = PeerKey::from_seed(9).id();
    let error = forged(&good(), &peer()).accept(&network(), &server, |_| None, NOW_MS).unwrap_err();
    assert_eq!(error, DescriptorError::NotItsOwn { author: peer().id(), server });
}

#[test]
fn older_sequence_never_replaces_a_newer_one() {
    let (signed, server) = (forged(&good(), &peer()), peer().id());
    let accept = |known| signed.accept(&network(), &server, |_| known, NOW_MS);
    assert!(accept(None).is_ok() && accept(Some(6)).is_ok());
    assert!(accept(Some(7)).is_ok(), "the same one again is a refetch");
    assert_eq!(accept(Some(8)), Err(DescriptorError::Stale { peer: server, got: 7, known: 8 }));
}

#[test]
fn sequence_of_a_liar_is_not_looked_up() {
    let signed = forged(&good(), &PeerKey::from_seed(9));
    let result = signed.accept(&network(), &peer().id(), |_| panic!("looked up before the signature"), NOW_MS);
    assert_eq!(result, Err(DescriptorError::BadSignature(peer().id())));
}

fn address(text: &str) -> Vec<SocketAddr> {
    vec![text.parse().unwrap()]
}

#[test]
fn descriptor_that_makes_no_sense_is_refused_when_read_and_when_signed() {
    let centroid = |mean: Vec<f32>, weight, radius| vec![Centroid { mean, weight, radius }];
    let classes = |d: &mut ExpertDescriptor, n: usize| {
        d.schema.task = Task::Classification { classes: vec!["c".to_owned(); n] };
        d.schema.output.shape = vec![n as u32];
    };
    type Spoil<'a> = Box<dyn Fn(&mut ExpertDescriptor) + 'a>;
    let bad: Vec<(&str, Spoil<'_>)> = vec![
        ("long name", Box::new(|d| d.name = "n".repeat(129))),
        ("name that clears the screen", Box::new(|d| d.name = "\u{1b}[2J".to_owned())),
        ("name that turns the line around", Box::new(|d| d.name = "\u{202e}trepxe".to_owned())),
        ("long backend", Box::new(|d| d.backend = "b".repeat(129))),
        ("no centroid", Box::new(|d| d.centroids.clear())),
        ("nine centroids", Box::new(|d| d.centroids = vec![d.centroids[1].clone(); 9])),
        ("centroid without dimensions", Box::new(|d| d.centroids = centroid(vec![], 1.0, 1.0))),
        ("centroid of 257 dimensions", Box::new(|d| d.centroids = centroid(vec![0.0; 257], 1.0, 1.0))),
        ("centroids of two spaces", Box::new(|d| d.centroids[1].mean.push(0.0))),
        ("NaN in a mean", Box::new(|d| d.centroids[0].mean[1] = f32::NAN)),
        ("infinite radius", Box::new(|d| d.centroids[0].radius = f32::INFINITY)),
        ("negative radius", Box::new(|d| d.centroids[0].radius = -0.1)),
        ("NaN weight", Box::new(|d| d.centroids[0].weight = f32::NAN)),
        ("negative weight", Box::new(|d| d.centroids[0].weight = -0.1)),
        ("weight over 1", Box::new(|d| d.centroids = centroid(vec![0.0], 1.1, 1.0))),
        ("weights that sum to 1.5", Box::new(|d| d.centroids[1].weight = 0.75)),
        ("an empty published checkpoint", Box::new(|d| d.published = Some(0))),
        ("a published checkpoint over the limit", Box::new(|d| d.published = Some(64 * 1024 * 1024 + 1))),
        ("a published checkpoint of all bytes", Box::new(|d| d.published = Some(u64::MAX))),
        ("no address", Box::new(|d| d.addresses.clear())),
        ("nine addresses", Box::new(|d| d.addresses = vec![d.addresses[0]; 9])),
        ("port 0", Box::new(|d| d.addresses = address("127.0.0.1:0"))),
        ("any address", Box::new(|d| d.addresses = address("0.0.0.0:1"))),
        ("any IPv6 address", Box::new(|d| d.addresses = address("[::]:1"))),
        ("any address in disguise", Box::new(|d| d.addresses = address("[::ffff:0.0.0.0]:1"))),
        ("multicast", Box::new(|d| d.addresses = address("224.0.0.1:1"))),
        ("IPv6 multicast", Box::new(|d| d.addresses = address("[ff02::1]:1"))),
        ("broadcast", Box::new(|d| d.addresses = address("255.255.255.255:1"))),
        ("no batch", Box::new(|d| d.capacity.max_batch = 0)),
        ("one class", Box::new(|d| classes(d, 1))),
        ("4097 classes", Box::new(|d| classes(d, 4097))),
        ("output of another size", Box::new(|d| d.schema.output.shape = vec![4])),
        ("output of another rank", Box::new(|d| d.schema.output.shape = vec![3, 1])),
        ("output that is no probability", Box::new(|d| d.schema.output.dtype = DType::I64)),
        ("empty input", Box::new(|d| d.schema.input.shape = vec![28, 0])),
        ("input larger than a frame", Box::new(|d| d.schema.input.shape = vec![8193, 8192])),
        ("input that overflows", Box::new(|d| d.schema.input.shape = vec![u32::MAX; 7])),
        ("input of rank 8 and a batch", Box::new(|d| d.schema.input.shape = vec![1; 8])),
        ("input of rank 9", Box::new(|d| d.schema.input.shape = vec![1; 9])),
        ("long tensor name", Box::new(|d| d.schema.input.name = "n".repeat(129))),
        (
            "label with a newline",
            Box::new(|d| {
                let Task::Classification { classes } = &mut d.schema.task;
                classes[0].push('\n');
            }),
        ),
    ];
    for (what, spoil) in bad {
        let mut descriptor = good();
        spoil(&mut descriptor);
        let result = verify(&descriptor);
        assert!(matches!(result, Err(DescriptorError::Decode(_))), "{what}: {result:?}");
        assert!(descriptor.sign(|message| peer().sign(message)).is_err(), "{what} can be signed");
    }
}

#[test]
fn local_and_public_addresses_are_fine() {
    for text in ["127.0.0.1:1", "10.0.0.1:65535", "[::1]:4001", "[2001:db8::1]:1", "[::ffff:127.0.0.1]:7"] {
        let mut descriptor = good();
        descriptor.addresses = address(text);
        assert!(verify(&descriptor).is_ok(), "{text}");
    }
}

#[test]
fn spec_accepts_batches_of_itself_only() {
    use glia_protocol::Tensor;
    let spec = testing::schema(3).input;
    assert_eq!((spec.elements(), spec.item_len()), (784, 784));
    let tensor = |name: &str, shape: &[u32]| {
        Tensor::from_u8(name, shape, vec![0; shape.iter().product::<u32>() as usize]).unwrap()
    };
    assert!(spec.accepts(&tensor("image", &[1, 28, 28])) && spec.accepts(&tensor("image", &[5, 28, 28])));
    for (name, shape) in [("picture", &[1, 28, 28][..]), ("image", &[28, 28]), ("image", &[1, 28, 27]), ("image", &[])]
    {
        assert!(!spec.accepts(&tensor(name, shape)), "{name} {shape:?}");
    }
    let floats = Tensor::from_f32("image", &[1, 28, 28], &[0.0; 784]).unwrap();
    assert!(!spec.accepts(&floats));
}
