// What makes the pages quicker to use. All of them are whole without it.

import { watch } from "./events.js";
import { upgradePhotos } from "./photos.js";
import { upgradeSearch } from "./search.js";
import { upgradeShelves } from "./shelves.js";
import { upgradeTabs } from "./tabs.js";

upgradeTabs();
upgradeShelves();
upgradeSearch();
upgradePhotos();
watch();
