# What two threads may share without a lock: loads and stores with an order, and the index arithmetic of a ring with
# one producer and one consumer. Header only; the compiler's own builtins.
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t

cdef extern from *:
    """
    #ifndef MEDIASERVER_ATOMIC
    #define MEDIASERVER_ATOMIC
    #define ms_load_acquire(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define ms_load_relaxed(p) __atomic_load_n((p), __ATOMIC_RELAXED)
    #define ms_store_release(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    #define ms_store_relaxed(p, v) __atomic_store_n((p), (v), __ATOMIC_RELAXED)
    #define ms_exchange(p, v) __atomic_exchange_n((p), (v), __ATOMIC_ACQ_REL)
    #define ms_or(p, v) __atomic_fetch_or((p), (v), __ATOMIC_ACQ_REL)
    #define ms_fence_acquire() __atomic_thread_fence(__ATOMIC_ACQUIRE)
    #define ms_fence_release() __atomic_thread_fence(__ATOMIC_RELEASE)
    #endif
    """
    uint32_t load_acquire_32 "ms_load_acquire"(const uint32_t* p) noexcept nogil
    uint32_t load_relaxed_32 "ms_load_relaxed"(const uint32_t* p) noexcept nogil
    void store_release_32 "ms_store_release"(uint32_t* p, uint32_t value) noexcept nogil
    void store_relaxed_32 "ms_store_relaxed"(uint32_t* p, uint32_t value) noexcept nogil
    uint32_t exchange_32 "ms_exchange"(uint32_t* p, uint32_t value) noexcept nogil
    uint32_t fetch_or_32 "ms_or"(uint32_t* p, uint32_t value) noexcept nogil
    uint64_t load_acquire_64 "ms_load_acquire"(const uint64_t* p) noexcept nogil
    uint64_t load_relaxed_64 "ms_load_relaxed"(const uint64_t* p) noexcept nogil
    void store_release_64 "ms_store_release"(uint64_t* p, uint64_t value) noexcept nogil
    void store_relaxed_64 "ms_store_relaxed"(uint64_t* p, uint64_t value) noexcept nogil
    void fence_acquire "ms_fence_acquire"() noexcept nogil
    void fence_release "ms_fence_release"() noexcept nogil
