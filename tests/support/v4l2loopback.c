/* v4l2loopback as a preloaded library, for machines that cannot load the driver.
 *
 * Its paths are looked up below the folder $V4L2_ROOT. There a device is a file, which keeps the
 * frames, and "format" gets the format that the writer chose. What the test may put there: "held",
 * a format that cannot change, as "YU12 640x480"; "readers", how many programs read the device, which
 * drivers before 0.13 do not tell; "capture", so that nothing can be output; and "open",
 * "set_format" or "write", the errno with which that fails. */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/videodev2.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define USAGE (V4L2_EVENT_PRIVATE_START + 0x08E00001) /* of v4l2loopback: who reads it */

static const char *ours[] = {"/dev/video", "/lib/modules", "/sys/module/v4l2loopback",
                             "/sys/devices/virtual/video4linux"};
static __thread char place[4096];

static const char *below(const char *name) {
    snprintf(place, sizeof place, "%s/%s", getenv("V4L2_ROOT"), name);
    return place;
}

static const char *moved(const char *path) {
    for (int i = 0; i < 4; i++)
        if (path && !strncmp(path, ours[i], strlen(ours[i])))
            return below(path + 1);
    return path;
}

static int number_in(const char *name) { /* 0 where there is no such file */
    int number = 0;
    FILE *file = fopen(below(name), "r");
    if (!file)
        return 0;
    if (fscanf(file, "%d", &number) != 1)
        number = 0;
    fclose(file);
    return number;
}

static int is_device(int fd) {
    char link[32], target[4096] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    if (readlink(link, target, sizeof target - 1) < 0)
        return 0;
    return strstr(target, below("dev/video")) == target;
}

static int answer(int error) {
    errno = error;
    return error ? -1 : 0;
}

int open(const char *path, int flags, ...) {
    va_list rest;
    va_start(rest, flags);
    int mode = va_arg(rest, int);
    va_end(rest);
    if (!strncmp(path, ours[0], strlen(ours[0])) && number_in("open"))
        return answer(number_in("open"));
    return REAL(open)(moved(path), flags, mode);
}
int open64(const char *, int, ...) __attribute__((alias("open")));

int stat(const char *path, struct stat *result) { return REAL(stat)(moved(path), result); }
int stat64(const char *, struct stat64 *) __attribute__((alias("stat")));
int __xstat(int version, const char *path, struct stat *result) { /* before glibc 2.33 */
    return REAL(__xstat)(version, moved(path), result);
}
int __xstat64(int, const char *, struct stat64 *) __attribute__((alias("__xstat")));

DIR *opendir(const char *path) { return REAL(opendir)(moved(path)); }

ssize_t write(int fd, const void *data, size_t size) {
    int error = is_device(fd) ? number_in("write") : 0;
    return error ? answer(error) : REAL(write)(fd, data, size);
}

static int set_format(struct v4l2_format *format) {
    struct v4l2_pix_format *pix = &format->fmt.pix;
    char *pixels = (char *)&pix->pixelformat;
    FILE *file = fopen(below("held"), "r");
    if (file && fscanf(file, "%4c %ux%u", pixels, &pix->width, &pix->height) != 3)
        return answer(EIO);
    if (file)
        fclose(file);
    file = fopen(below("format"), "w");
    fprintf(file, "%.4s %ux%u", pixels, pix->width, pix->height);
    fclose(file);
    return answer(format->type == V4L2_BUF_TYPE_VIDEO_OUTPUT ? number_in("set_format") : EINVAL);
}

static int query(struct v4l2_capability *able) {
    int capture = !access(below("capture"), F_OK);
    able->capabilities = capture ? V4L2_CAP_VIDEO_CAPTURE : V4L2_CAP_VIDEO_OUTPUT;
    return 0;
}

static int subscribe(const struct v4l2_event_subscription *to) {
    int known = to->type == USAGE && to->flags == V4L2_EVENT_SUB_FL_SEND_INITIAL;
    return answer(known && !access(below("readers"), F_OK) ? 0 : EINVAL);
}

static int next_event(struct v4l2_event *event) {
    event->type = USAGE;
    event->u.data[0] = number_in("readers");
    return 0;
}

int ioctl(int fd, unsigned long request, ...) {
    va_list rest;
    va_start(rest, request);
    void *data = va_arg(rest, void *);
    va_end(rest);
    if (!is_device(fd))
        return REAL(ioctl)(fd, request, data);
    switch ((unsigned)request) { /* Python extends the sign */
    case VIDIOC_QUERYCAP:
        return query(data);
    case VIDIOC_S_FMT:
        return set_format(data);
    case VIDIOC_SUBSCRIBE_EVENT:
        return subscribe(data);
    case VIDIOC_DQEVENT:
        return next_event(data);
    }
    return answer(ENOTTY);
}
