;; A counter: `add` adds a number, `get` tells the sum. See counter.did for its interface.
;;
;; The sum is kept in stable memory, which an upgrade keeps; everything else is scratch.
;; Candid writes (5 : nat64) as "DIDL", no types (00), one value (01) of nat64 (78), eight bytes.
(module
  (import "ic0" "msg_arg_data_copy" (func $copy_argument (param i32 i32 i32)))
  (import "ic0" "msg_reply_data_append" (func $append_to_reply (param i32 i32)))
  (import "ic0" "msg_reply" (func $reply))
  (import "ic0" "debug_print" (func $print (param i32 i32)))
  (import "ic0" "trap" (func $trap (param i32 i32)))
  (import "ic0" "stable64_grow" (func $stable_grow (param i64) (result i64)))
  (import "ic0" "stable64_read" (func $stable_read (param i64 i64 i64)))
  (import "ic0" "stable64_write" (func $stable_write (param i64 i64 i64)))

  (memory 1)
  (data (i32.const 0) "DIDL\00\01\78")   ;; 0..7 the head of every reply, 7..15 the sum
  (data (i32.const 64) "added")
  (data (i32.const 80) "too much")
                                         ;; 32..47 the argument: a head of 7 bytes, the number

  (func (export "canister_init")
    (drop (call $stable_grow (i64.const 1))))

  (func $read_sum
    (call $stable_read (i64.const 7) (i64.const 0) (i64.const 8)))

  (func $reply_with_sum
    (call $append_to_reply (i32.const 0) (i32.const 15))
    (call $reply))

  (func (export "canister_query get")
    (call $read_sum)
    (call $reply_with_sum))

  (func (export "canister_update add")
    (call $copy_argument (i32.const 32) (i32.const 0) (i32.const 15))
    (call $read_sum)
    (i64.store (i32.const 7) (i64.add (i64.load (i32.const 7)) (i64.load (i32.const 39))))
    (call $stable_write (i64.const 0) (i64.const 7) (i64.const 8))
    (call $print (i32.const 64) (i32.const 5))
    ;; A trap takes back everything that the message did.
    (if (i64.gt_u (i64.load (i32.const 7)) (i64.const 1000))
      (then (call $trap (i32.const 80) (i32.const 8))))
    (call $reply_with_sum))
)
