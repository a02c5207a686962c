// A library of devices for tests: graphics cards that compute on the processor, with as much memory as the test wants.
//
//   GME_TEST_CARDS=free:most[,free:most…]   per card the bytes that it says are free, and those that can be had
//
// Built by test/devices/fake-cards.ts with ggml's own static libraries, as the libraries of real drivers bring their own copy of ggml.
#include <atomic>
#include <cstdlib>
#include <string>
#include <vector>

#include "ggml-backend-impl.h"
#include "ggml-backend.h"
#include "ggml-cpu.h"

namespace {

struct card {
    size_t                   index;
    std::string              name, description;
    ggml_backend_buffer_type memory = {};
    std::atomic<size_t>      taken{ 0 };
};

struct limits {
    size_t free = 0, most = 0;
};

std::vector<limits> wanted() {
    const char *        text = std::getenv("GME_TEST_CARDS");
    std::vector<limits> cards;
    for (std::string rest = text == nullptr ? "" : text; !rest.empty();) {
        const size_t end   = rest.find(',');
        const auto   each  = rest.substr(0, end);
        const size_t colon = each.find(':');
        cards.push_back({ std::stoull(each), std::stoull(each.substr(colon + 1)) });
        rest = end == std::string::npos ? "" : rest.substr(end + 1);
    }
    return cards;
}

ggml_backend_dev_t processor() { return ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0); }

card & card_of(ggml_backend_dev_t device);

card & card_of(ggml_backend_buffer_type_t type) { return *static_cast<card *>(type->context); }

limits limits_of(const card & of) {
    const auto all = wanted();
    return of.index < all.size() ? all[of.index] : limits();
}

void free_buffer(ggml_backend_buffer_t buffer) {
    card_of(buffer->buft).taken -= buffer->size;
    std::free(buffer->context);
}

ggml_backend_buffer_t allocate(ggml_backend_buffer_type_t type, size_t size) {
    card & of = card_of(type);
    if (of.taken + size > limits_of(of).most) {
        return nullptr;
    }
    void * bytes = std::aligned_alloc(64, (size + 127) / 64 * 64);
    if (bytes == nullptr) {
        return nullptr;
    }
    of.taken += size;
    ggml_backend_buffer_t inner = ggml_backend_cpu_buffer_from_ptr(bytes, size);
    inner->iface.free_buffer    = free_buffer;
    inner->buft                 = type;
    return inner;
}

struct fake_device {
    ggml_backend_device device;
    card                own;
};

std::vector<fake_device *> & devices() {
    static std::vector<fake_device *> all;
    return all;
}

card & card_of(ggml_backend_dev_t device) {
    for (auto * each : devices()) {
        if (&each->device == device) {
            return each->own;
        }
    }
    std::abort();
}

void get_memory(ggml_backend_dev_t device, size_t * free, size_t * total) {
    *free  = limits_of(card_of(device)).free;
    *total = static_cast<size_t>(64) << 30;
}

void get_props(ggml_backend_dev_t device, ggml_backend_dev_props * props) {
    props->name        = card_of(device).name.c_str();
    props->description = card_of(device).description.c_str();
    props->type        = GGML_BACKEND_DEVICE_TYPE_GPU;
    props->device_id   = nullptr;
    get_memory(device, &props->memory_free, &props->memory_total);
    props->caps = {};
}

ggml_backend_t start(ggml_backend_dev_t device, const char * params) {
    ggml_backend_t backend = processor()->iface.init_backend(processor(), params);
    if (backend != nullptr) {
        backend->device = device;
    }
    return backend;
}

fake_device * make_device(size_t index, ggml_backend_reg_t registry) {
    auto * made           = new fake_device{ *processor(), { index, "FAKE" + std::to_string(index), "Fake card " + std::to_string(index) } };
    auto & iface          = made->device.iface;
    made->device.reg      = registry;
    iface.get_name        = [](ggml_backend_dev_t device) { return card_of(device).name.c_str(); };
    iface.get_description = [](ggml_backend_dev_t device) { return card_of(device).description.c_str(); };
    iface.get_memory      = get_memory;
    iface.get_type        = [](ggml_backend_dev_t) { return GGML_BACKEND_DEVICE_TYPE_GPU; };
    iface.get_props       = get_props;
    iface.init_backend    = start;
    iface.get_buffer_type = [](ggml_backend_dev_t device) { return &card_of(device).memory; };
    iface.supports_buft   = [](ggml_backend_dev_t device, ggml_backend_buffer_type_t type) { return type == &card_of(device).memory; };
    iface.buffer_from_host_ptr       = nullptr;
    made->own.memory                 = *ggml_backend_cpu_buffer_type();
    made->own.memory.iface.get_name  = [](ggml_backend_buffer_type_t type) { return card_of(type).name.c_str(); };
    made->own.memory.iface.is_host   = [](ggml_backend_buffer_type_t) { return false; };
    made->own.memory.iface.alloc_buffer = allocate;
    made->own.memory.device          = &made->device;
    made->own.memory.context         = &made->own;
    return made;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) ggml_backend_reg_t ggml_backend_init() {
    static ggml_backend_reg registry = {
        GGML_BACKEND_API_VERSION,
        {
            [](ggml_backend_reg_t) { return "Vulkan"; },
            [](ggml_backend_reg_t) { return devices().size(); },
            [](ggml_backend_reg_t, size_t index) { return &devices()[index]->device; },
            [](ggml_backend_reg_t, const char * name) { return ggml_backend_reg_get_proc_address(ggml_backend_cpu_reg(), name); },
        },
        nullptr,
    };
    for (size_t i = devices().size(); i < wanted().size(); i++) {
        devices().push_back(make_device(i, &registry));
    }
    return &registry;
}
