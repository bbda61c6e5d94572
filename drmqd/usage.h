/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/* What the process takes of the machine: memory, processor time, descriptors. */

#include "drmqd/core/broker.h"

/* For the broker's metrics. What cannot be known stays 0. */
void usage_read(struct broker_usage *ret);
