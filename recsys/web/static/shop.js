// What makes the pages quicker to use. All of them are whole without it.

import { watch } from "./events.js";
import { upgradeShelves } from "./shelves.js";
import { upgradeTabs } from "./tabs.js";

upgradeTabs();
upgradeShelves();
watch();
