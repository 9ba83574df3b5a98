//! The golden files that the Python side wrote: the same bytes, the same meaning.

mod support;

use std::path::Path;

use datanode_codec::frame::{Codec, Element, parse};
use datanode_codec::{digest, manifest, placement};
use support::{HeadParts, write_frame, write_placement, write_tensor_page};

fn golden(name: &str) -> Vec<u8> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/golden");
    std::fs::read(folder.join(format!("{name}_v1.bin"))).unwrap()
}

const FRAMES: [(&str, Codec, Element, u32); 9] = [
    ("frame_raw", Codec::Raw, Element::Bytes, 0),
    ("frame_zstd", Codec::Zstd, Element::Bytes, 0),
    ("frame_masksplit_f16", Codec::MaskSplit, Element::F16, 96),
    ("frame_masksplit_f16_bf16origin", Codec::MaskSplit, Element::F16, 96),
    ("frame_masksplit_bf16", Codec::MaskSplit, Element::Bf16, 96),
    ("frame_masksplit_f32", Codec::MaskSplit, Element::F32, 96),
    ("frame_masksplit_f32_bf16origin", Codec::MaskSplit, Element::F32, 96),
    ("frame_masksplit_patched", Codec::MaskSplit, Element::F16, 0),
    ("frame_masksplit_constant", Codec::MaskSplit, Element::F16, 0),
];

#[test]
fn golden_frames_have_the_headers_that_they_were_made_with() {
    for (name, codec, element, row_len) in FRAMES {
        let frame = golden(name);
        let (header, payload) = parse(&frame).unwrap();
        assert_eq!((header.codec, header.element, header.row_len), (codec, element, row_len));
        assert_eq!(payload, &frame[64..], "{name}");
    }
}

#[cfg(feature = "decode")]
#[test]
fn golden_frames_decode_to_their_content_and_are_written_alike() {
    for (name, codec, element, row_len) in FRAMES {
        let frame = golden(name);
        let (_, payload) = parse(&frame).unwrap();
        // The content digest in the header is checked by `decode`, and by writing it again.
        let raw = datanode_codec::decode(&frame).unwrap();
        assert_eq!(write_frame(codec.id(), element.id(), &raw, row_len, payload), frame, "{name}");
    }
}

#[cfg(feature = "decode")]
#[test]
fn golden_raw_bytes_are_what_their_names_say() {
    let decode = |name: &str| datanode_codec::decode(&golden(name)).unwrap();
    let line = "{\"hidden_size\": 384, \"layers\": 6}\n";
    assert_eq!(decode("frame_zstd"), line.repeat(40).as_bytes());
    assert_eq!(decode("frame_masksplit_constant"), [0x00, 0x3c].repeat(960));
    assert_eq!(decode("frame_masksplit_patched").last(), Some(&0x5a));
    let specials = [0x0000u16, 0x8000, 1, 0x83ff, 0x7c00, 0xfc00, 0x7e00, 0xffff, 0x7f80, 0x7fc0];
    let specials: Vec<u8> = specials.iter().flat_map(|word| word.to_le_bytes()).collect();
    for name in ["f16", "f16_bf16origin", "bf16"] {
        assert!(decode(&format!("frame_masksplit_{name}")).starts_with(&specials), "{name}");
    }
}

#[test]
fn the_golden_head_is_read_and_written_alike() {
    let frame = golden("manifest_head");
    let (_, raw) = parse(&frame).unwrap();
    let head = manifest::parse_head(raw).unwrap();
    let base: Vec<u8> = (0..32).collect();
    assert_eq!(head.base.unwrap().as_slice(), base);
    let paths: Vec<_> = head.files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(paths, ["config.json", "empty/file.txt", "model.safetensors"]);
    assert_eq!((head.chunk_count, head.tensor_count), (5, 3));
    let keys: Vec<_> = head.metadata.iter().map(|pair| pair.0).collect();
    assert_eq!(keys, ["", "aa", "\u{540d}", "format"]);
    for (page, digests) in
        [("manifest_chunk_page", &head.chunk_pages), ("manifest_tensor_page", &head.tensor_pages)]
    {
        assert_eq!(digests, &[digest::hash(&golden(page))]);
    }
    let file = |file: &manifest::FileEntry| {
        let counts = (u64::from(file.first_chunk), u64::from(file.chunk_count));
        (file.path.clone(), file.bytes, file.sha256, counts.0, counts.1)
    };
    let parts = HeadParts {
        version: 1,
        base: head.base,
        files: head.files.iter().map(file).collect(),
        chunk_pages: head.chunk_pages.clone(),
        tensor_pages: head.tensor_pages.clone(),
        metadata: head.metadata.iter().map(|(key, text)| (key.into(), text.into())).collect(),
        chunk_count: head.chunk_count.into(),
        tensor_count: head.tensor_count.into(),
    };
    assert_eq!(parts.write(), raw);
}

#[test]
fn the_golden_pages_are_read_record_by_record() {
    let frame = golden("manifest_chunk_page");
    let page = manifest::chunk_page(parse(&frame).unwrap().1).unwrap();
    let lengths: Vec<_> = page.iter().map(|record| record.raw_len).collect();
    assert_eq!(lengths, [611, 400, 2_080_768, 1_000_000, 96]);
    for (index, record) in page.into_iter().enumerate() {
        assert_eq!(record.content, digest::hash(format!("content {index}").as_bytes()));
        assert_eq!(record.frame, digest::hash(format!("frame {index}").as_bytes()));
        assert_eq!(record.frame_len, 64 + record.raw_len / 2);
        assert_eq!(usize::from(record.codec.id()), index.min(2));
    }
    assert_eq!(page.get(4).unwrap().element, Element::F32);

    let frame = golden("manifest_tensor_page");
    let raw = parse(&frame).unwrap().1;
    let tensors = manifest::tensor_page(raw).unwrap();
    let names: Vec<_> = tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["model.embed.weight", "norme.\u{e9}", "nothing"]);
    let parts: Vec<_> = tensors
        .into_iter()
        .map(|tensor| {
            let (first, count) = (tensor.first_chunk.into(), tensor.chunk_count.into());
            let place = (u64::from(tensor.file), tensor.offset);
            (tensor.name, tensor.dtype, tensor.shape, place.0, place.1, first, count)
        })
        .collect();
    assert_eq!(write_tensor_page(&parts), raw);
}

#[test]
fn the_golden_placement_is_read_and_written_alike() {
    let frame = golden("placement");
    let raw = parse(&frame).unwrap().1;
    let record = placement::parse(raw).unwrap();
    assert_eq!(record.manifest, digest::hash(&golden("manifest_head")));
    let runs = [(0, 1), (2, 70_000), (1, 3), (0, 1 << 24)];
    assert_eq!(record.chunk_count, 70_004 + (1 << 24));
    let at = |chunk| record.node_of(chunk);
    assert_eq!(
        [at(0), at(1), at(70_000), at(70_001), at(70_003)].map(Option::unwrap),
        [0, 2, 2, 1, 1,]
    );
    assert_eq!((at(70_004), at(record.chunk_count)), (Some(0), None));
    let nodes: Vec<_> = record.nodes.iter().map(|node| node.principal().to_vec()).collect();
    let mut written = write_placement(&nodes, &runs);
    written[16..48].copy_from_slice(&record.manifest);
    assert_eq!(written, raw);
}
