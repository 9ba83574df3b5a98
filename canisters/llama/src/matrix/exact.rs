//! Multiplication of a checkpoint's own words with f32 activations, in f32.

use super::layout::Panel;
use super::word::Word;
use crate::simd::F32x4;

macro_rules! list {
    (16 $then:ident $($with:tt)*) => { $then!($($with)* 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15) };
    (32 $then:ident $($with:tt)*) => {
        $then!($($with)* 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27
            28 29 30 31)
    };
    (48 $then:ident $($with:tt)*) => {
        $then!($($with)* 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27
            28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47)
    };
    (64 $then:ident $($with:tt)*) => {
        $then!($($with)* 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27
            28 29 30 31 32 33 34 35 36 37 38 39 40 41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56
            57 58 59 60 61 62 63)
    };
}

macro_rules! load_fours {
    ($x:ident $($k:literal)*) => { [F32x4::load(&$x[0]), $(F32x4::load(&$x[$k])),*] };
}

macro_rules! add_products {
    ($total:ident $row:ident $x:ident $($k:literal)*) => {{
        let total = $total;
        $(let total = total.add(W::widen(&$row[$k]).mul($x[$k]));)*
        total
    }};
}

macro_rules! kernel {
    ($name:ident, $fours:tt) => {
        #[inline(never)]
        fn $name<W: Word>(
            words: &[W::Four],
            x: &[[f32; 4]],
            kept: F32x4,
            sums: &mut [[f32; 4]],
        ) {
            let x: &[[f32; 4]; $fours] = x.first_chunk().expect("a panel of x");
            let x = list!($fours load_fours x);
            for (row, sum) in words.as_chunks::<$fours>().0.iter().zip(sums) {
                let total = F32x4::load(sum).and(kept).add(W::widen(&row[0]).mul(x[0]));
                list!($fours add_products total row x).store(sum);
            }
        }
    };
}

kernel!(k16, 16);
kernel!(k32, 32);
kernel!(k48, 48);
kernel!(k64, 64);

/// Add a panel's products to the lanes of each row's sum, or begin the sums with the first panel.
pub(super) fn multiply_panel<W: Word>(
    panel: &Panel,
    bytes: &[u8],
    x: &[[f32; 4]],
    sums: &mut [[f32; 4]],
) {
    let (words, x) = (W::fours(bytes), &x[panel.first_column / 4..]);
    let kept = F32x4::splat(f32::from_bits(if panel.first_column == 0 { 0 } else { u32::MAX }));
    match panel.columns / 4 {
        16 => k16::<W>(words, x, kept, sums),
        32 => k32::<W>(words, x, kept, sums),
        48 => k48::<W>(words, x, kept, sums),
        _ => k64::<W>(words, x, kept, sums),
    }
}
