// Preloaded into a child: the wall clock jumps a day forwards, and back, at every look; the monotonic one is as it is.
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <atomic>

static time_t jump() {
    static std::atomic<unsigned> looks{0};
    return looks.fetch_add(1) % 2 == 0 ? 0 : 86400;
}

extern "C" int clock_gettime(clockid_t clock, timespec * now) {
    const long status = syscall(SYS_clock_gettime, clock, now);
    if (status == 0 && clock == CLOCK_REALTIME) {
        now->tv_sec += jump();
    }
    return int(status);
}

extern "C" int gettimeofday(timeval * now, void *) {
    timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec  = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return 0;
}

extern "C" time_t time(time_t * at) {
    timespec precise;
    clock_gettime(CLOCK_REALTIME, &precise);
    if (at) {
        *at = precise.tv_sec;
    }
    return precise.tv_sec;
}
