// What makes the pages quicker to use. All of them are whole without it.

import { upgradeTabs } from "./tabs.js";

upgradeTabs();
