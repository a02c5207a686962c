// One line per check, `ok - …` or `not ok - …`, and the code of an error that a call throws.
#pragma once

#include "error.h"

#include <cstdio>
#include <string>

namespace checks {

inline int n_failed = 0;

inline bool check(bool passed, const std::string & title) {
    std::printf("%s - %s\n", passed ? "ok" : "not ok", title.c_str());
    n_failed += !passed;
    return passed;
}

// Runs `call` and answers the code of the error it throws, "" when it throws none; *thrown gets the error.
template <typename F> std::string code_of(const F & call, gme::error * thrown = nullptr) {
    try {
        call();
    } catch (const gme::error & bad) {
        if (thrown != nullptr) {
            *thrown = bad;
        }
        return bad.code;
    }
    return "";
}

// The code of the gme::error that `call` throws and the field it names, "CODE field"; "" when it throws none.
template <typename F> std::string failure_of(const F & call) {
    gme::error        thrown("", "");
    const std::string code = code_of(call, &thrown);
    return code.empty() ? code : code + " " + thrown.field;
}

inline int result() { return n_failed == 0 ? 0 : 1; }

}  // namespace checks
