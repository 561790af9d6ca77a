/** The toys in the order in which they are offered. */

import { CUT } from "./cut.js";
import { PRICE } from "./price.js";
import { SPECTRUM } from "./spectrum.js";
import { STARTS } from "./starts.js";
import { ZERO } from "./zero.js";

export const TOYS = [SPECTRUM, ZERO, STARTS, CUT, PRICE];
